"""What model calls report: token counts, model and finish reasons, and the contents of their streams."""
