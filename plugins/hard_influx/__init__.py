"""Events as points of InfluxDB, over HTTP or in a file of line protocol: `InfluxSink`.

The line protocol stands in `points`, how it is sent in `hard_delivery`.  It creates no database and
shows no state.  The runtime finds the sink through its entry point.
"""

from __future__ import annotations

from hard_influx.sink import InfluxSink, InfluxSinkConfig

__all__ = ["InfluxSink", "InfluxSinkConfig"]
