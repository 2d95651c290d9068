"""What the tests of the formats share: writing files, reading recordings."""

import zipfile
from collections import Counter

import numpy as np

from hard.api import Annotation, SampleBatch
from hard.testing import check_message
from hard_file import Options, open_recording


def write(folder, members):
    """Write name -> text (or bytes) below a folder, which is returned."""
    for name, text in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


class Read:
    """A recording read to its end: stream -> sensor -> stamps and values; labels; what was left."""

    def __init__(self, path, **options):
        self.recording = open_recording(path, Options(**options))
        self.info = self.recording.info
        self.skipped = Counter()
        self.said = []
        self.batches, self.notes = [], []
        for message in self.recording.messages(self._skip):
            if message:
                check_message(message)
            self.batches += [p for p in message if isinstance(p, SampleBatch)]
            self.notes += [p for p in message if isinstance(p, Annotation)]
        self.streams = list(dict.fromkeys(batch.stream for batch in self.batches))

    def _skip(self, reason, detail):
        self.skipped[reason] += 1
        self.said.append(detail)

    def _joined(self, name, sensor, stream):
        wanted = self.streams[0] if stream is None else stream
        parts = [
            getattr(b, name) for b in self.batches if b.sensor == sensor and b.stream == wanted
        ]
        return np.concatenate(parts)

    def t(self, sensor="accel", stream=None):
        return self._joined("t", sensor, stream).tolist()

    def values(self, sensor="accel", stream=None):
        return self._joined("values", sensor, stream).tolist()

    @property
    def labels(self):
        return [(note.t, note.text) for note in self.notes]
