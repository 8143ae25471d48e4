"""The settings: their table, the types of their values, and the layers they come from."""
