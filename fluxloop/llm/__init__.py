"""Read the responses of model calls: token counts, model and finish reasons, and the content of streams."""
