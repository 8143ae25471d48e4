"""Parsers of model streams, one module per provider or framework."""
