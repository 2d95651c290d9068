"""What a figure depends on besides data and code: the versions of what is installed.

Called by every command that prints figures, and by the report.
"""

from __future__ import annotations

import platform
from importlib import metadata

__all__ = ["versions"]

_PACKAGES = (
    *("hard-daemon", "numpy", "tensorflow", "tf-keras", "scikit-learn"),
    *("ai-edge-litert", "tflite-runtime"),
)


def versions() -> dict[str, str]:
    """Return Python's version, and those of the packages above that are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
