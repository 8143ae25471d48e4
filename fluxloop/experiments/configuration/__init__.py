"""
The configuration of experiments: YAML files, checked against `models.ExperimentConfig`.
"""

from __future__ import annotations
