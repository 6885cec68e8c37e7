"""Double entry, derived from the rows: a billing debits the advertiser and credits the ten parties, a refund reverses."""
