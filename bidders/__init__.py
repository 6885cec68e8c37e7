"""A library of bidding rules: one small file a rule. They import nothing of the exchange."""
