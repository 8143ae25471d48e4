"""Encode any Python value as bounded JSON, and format the parts of record lines."""
