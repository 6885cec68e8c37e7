"""Rent: who receives which part of the money, and the journal that remembers it."""
