"""Working files that ``fedbal new`` copies under a name of the user's choice."""
