"""
The clock for waits and time limits.

Test libraries such as freezegun replace the clocks of `time`. A time limit must end while they are stopped.
"""

from __future__ import annotations

import time

if hasattr(time, "clock_gettime"):

    def seconds() -> float:
        """Return the time of a monotonic clock, also while a test library has stopped the clocks of `time`."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

else:  # Windows
    seconds = time.monotonic
