"""
Stores of the collector: where received records are kept, and how they are found again.
"""
