"""
Read what a model call's result tells: `read_usage` its token counts, `read_facts` all there is.

Both take any value and never raise. A result is known by the names it holds, as a dict and as an object
alike: no provider's package is imported, none of its methods is called. Streams: `fluxloop.deltas`.
"""

from .counts import add_usage, read_usage
from .facts import ModelFacts, read_facts

__all__ = ["ModelFacts", "add_usage", "read_facts", "read_usage"]
