"""Seconds and bytes as people say them; imports nothing, since progress lines of every command need it."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """
    >>> duration(42.4), duration(3700)
    ('42 s', '1 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def amount(size_bytes: float) -> str:
    """
    >>> amount(28_416_000), amount(512), amount(27_000_000_000)
    ('28.4 MB', '512 bytes', '27.0 GB')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes:.0f} bytes"
