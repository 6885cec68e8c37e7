"""Reports on a ledger: what each says, one file a report; how it is shown knows nothing of any one report."""
