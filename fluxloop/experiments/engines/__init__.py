"""
Where runs are executed: in this process, or in worker processes.

An engine is one module with one class that has the methods of `contract.Engine`.
"""

from __future__ import annotations
