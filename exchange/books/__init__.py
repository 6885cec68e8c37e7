"""The books of a ledger: counted, summed up, kept by double entry and reconciled."""
