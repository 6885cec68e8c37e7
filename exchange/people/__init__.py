"""What a user does with the people of a ledger: import them, find them by rule, keep an advertiser's list."""
