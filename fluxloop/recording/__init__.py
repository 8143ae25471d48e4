"""
Record the arguments of calls of agents, so that experiments can call them again.
"""

from __future__ import annotations
