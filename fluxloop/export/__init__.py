"""
Write traces in the formats of other programs, and as files that FluxLoop reads again.
"""
