"""Phones that stream over a WebSocket: the Android app SensorServer.

The runtime finds the class through its entry point.
"""

from hard_ws.source import WsSource

__all__ = ["WsSource"]
