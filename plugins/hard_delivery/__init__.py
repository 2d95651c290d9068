"""What several sinks do alike: lines in a file that rotates, requests over HTTP.

No plugin by itself.  `lines` serves jsonl and influx, `posting` webhook and influx, each in the
sink's own thread; nothing here starts one.
"""
