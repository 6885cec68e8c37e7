"""What a bid request states about person, place and slot: the attributes that targets ask about."""
