"""The settings: their definitions, the types of their values, and the layers that they come from."""
