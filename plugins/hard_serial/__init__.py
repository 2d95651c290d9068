"""Serial IMUs as a source: a port, its bytes' framing, the device's clock.

What the bytes mean stands in `hard_formats.framing`.  The runtime finds `SerialSource` through its
entry point.
"""

from hard_serial.source import SerialSource

__all__ = ["SerialSource"]
