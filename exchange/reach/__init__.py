"""How many people an audience reaches, whom it shares with others, and what contacts with them have cost."""
