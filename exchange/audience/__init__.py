"""Who may bid on this person: targeting language, index of bits, matching kernel, people's segments."""
