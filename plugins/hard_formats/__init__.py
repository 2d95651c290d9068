"""What the bytes mean that phones and IMUs send: pure decoders, no plugin by themselves.

Bytes in, `SampleBatch`es out, in the sender's own units and stamps.  No connection, no clock, no
thread: the sources (mqtt, http, ws, serial, file) own those, and so several of them share one
decoder of each format.  What they do alike with a message, and with a secret in a file, stands here
too: `receiving`, `admission`, `devices`, `credentials`.
"""
