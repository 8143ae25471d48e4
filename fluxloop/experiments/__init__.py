"""
Experiments: run an agent over many inputs, and keep what it did in a folder that other commands read.
"""

from __future__ import annotations
