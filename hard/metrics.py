"""What the daemon tells of itself in figures.

Nothing is decided here.  `hard.runtime` asks for its memory.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["resident_bytes"]


def resident_bytes() -> int:
    """Return the memory that this process has in RAM now."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
