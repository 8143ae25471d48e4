"""The recording path: one for every call shape and every framework."""
