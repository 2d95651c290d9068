"""Phones over HTTP: Sensor Logger pushes to us, phyphox is polled by us.

The runtime finds both classes through their entry points.  `server` and `client` carry HTTP and
know nothing of sensors; `push` and `phyphox` know the two apps.
"""

from hard_http.phyphox import PhyphoxSource
from hard_http.push import HttpSource

__all__ = ["HttpSource", "PhyphoxSource"]
