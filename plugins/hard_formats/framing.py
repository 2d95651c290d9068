"""The framings of serial IMUs by their names: bytes in, readings out.

The serial source uses them on a port, whoever decodes a dump on a file.
"""

from __future__ import annotations

from typing import Literal

from hard_formats.readings import Framing, Readings
from hard_formats.text_lines import Razor, Text, TextOptions
from hard_formats.uart_rvc import UartRvc
from hard_formats.vectornav import VectorNav
from hard_formats.witmotion import Wt901, Wt901Ble

__all__ = ["FRAMINGS", "Framing", "FramingName", "Readings", "TextOptions"]

FramingName = Literal["wt901", "wt901ble", "uart_rvc", "text", "razor", "vectornav"]

FRAMINGS: dict[str, type[Framing]] = {
    "wt901": Wt901,
    "wt901ble": Wt901Ble,
    "uart_rvc": UartRvc,
    "text": Text,
    "razor": Razor,
    "vectornav": VectorNav,
}
"""Each makes a framing without arguments; `text` takes `TextOptions` too."""
