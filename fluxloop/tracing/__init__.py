"""The recording path, shared by all call shapes and frameworks."""
