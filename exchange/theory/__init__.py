"""Theory on the bench: closed forms of auction theory beside what the exchange measures, through the real path."""
