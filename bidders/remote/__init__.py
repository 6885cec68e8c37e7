"""Example OpenRTB bidders as small HTTP servers; they share nothing with the exchange but the protocol."""
