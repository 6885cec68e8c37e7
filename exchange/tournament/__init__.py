"""Play bidding rules against one field, each in the same seat on the same seeds, and rank them."""
