"""A reserve from data: what a ledger says about buyers' values, and what a higher floor would have earned."""
