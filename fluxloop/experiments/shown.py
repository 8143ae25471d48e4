"""
Durations, amounts and rates as text, for documents and reports.
"""

from __future__ import annotations


def milliseconds(duration: float | None) -> str:
    """Return a duration with a unit that suits it: ``12.3 ms``, ``4.56 s``, ``3m 20s``."""
    if duration is None or duration != duration:
        return ""
    if duration < 999.5:
        return f"{duration:.3g} ms" if duration < 100 else f"{duration:.0f} ms"
    if duration < 59_950:
        return f"{duration / 1000:.3g} s"
    seconds = round(duration / 1000)
    return f"{seconds // 60}m {seconds % 60:02d}s"


def dollars(amount: float | None) -> str:
    """Return an amount of US dollars."""
    if amount is None:
        return ""
    return f"${amount:,.2f}" if abs(amount) >= 0.995 or not amount else f"${amount:.4g}"


def percent(rate: float | None) -> str:
    """Return a rate from 0 to 1 in percent, without rounding 99.96 % up to 100 %."""
    if rate is None:
        return ""
    value = rate * 100
    if 99.9 < value < 100:
        return "99.9 %"
    return f"{value:.0f} %" if value in (0, 100) else f"{value:.1f} %"


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign."""
    return f"{value:+,.{digits}g}" if value else "0"
