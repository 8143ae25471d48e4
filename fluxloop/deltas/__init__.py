"""
Read a model's stream as it passes: `delta_text` what one item adds, `StreamFacts` what all of them do.

Neither raises, and neither keeps an item or takes one from an iterator. Results that are no stream:
`fluxloop.usage`.
"""

from .stream import StreamFacts, delta_text

__all__ = ["StreamFacts", "delta_text"]
