"""
Agents that are not Python functions: HTTP endpoints and processes.
"""

from __future__ import annotations
