"""Serial IMUs as they would send: what each format's bytes are, and one behind a pseudo terminal.

The expected values come from here, not from the decoders: counts in, bytes out.
"""

import contextlib
import os
import struct
import time
import tty
from functools import reduce
from operator import xor

import numpy as np

FORMATS = ("wt901", "wt901ble", "uart_rvc", "text", "razor", "vectornav")
G = 9.80665


def frame(fmt, number, accel_g, gyro_deg_s):
    """Return the bytes of one reading: acceleration in g, of the device's own sign, and deg/s."""
    ax, ay, az = accel_g
    gx, gy, gz = gyro_deg_s
    if fmt in {"wt901", "wt901ble"}:
        a = struct.pack("<3h", *(round(v * 2048) for v in accel_g))
        g = struct.pack("<3h", *(round(v * 32768 / 2000) for v in gyro_deg_s))
        if fmt == "wt901ble":
            return b"\x55\x61" + a + g + bytes(6)
        return b"".join(map(wit, (0x51, 0x52, 0x53, 0x54), (a, g, bytes(6), bytes(6))))
    if fmt == "uart_rvc":
        body = struct.pack("<B6h3x", number % 256, 1, 2, 3, *(round(v * 1000) for v in accel_g))
        return b"\xaa\xaa" + body + bytes([sum(body) & 0xFF])
    if fmt == "razor":
        a = ",".join(f"{v * 256:.2f}" for v in accel_g)
        g = ",".join(f"{v / 0.06957:.2f}" for v in gyro_deg_s)
        return f"#A-C={a}\r\n#M-C=1.00,2.00,3.00\r\n#G-C={g}\r\n".encode()
    if fmt == "vectornav":
        x = [1, 2, 3, ax * G, ay * G, az * G, *np.radians([gx, gy, gz]), 20, 101]
        return vector("VNIMU," + ",".join(f"{v:+09.4f}" for v in x))
    x = [ax * G, ay * G, az * G, *np.radians([gx, gy, gz])]
    return (",".join(f"{v:.4f}" for v in x) + "\n").encode()


def wit(kind, six):
    body = bytes([0x55, kind]) + six + bytes(2)
    return body + bytes([sum(body) & 0xFF])


def vector(body):
    return f"${body}*{reduce(xor, body.encode()):02X}\r\n".encode()


def numbered(fmt, n, first=0):
    """Return `n` frames, each told from the others by its acceleration, and that, in g along x.

    No byte of them can be taken for a header of the formats without a checksum.
    """
    numbers = np.arange(first, first + n)
    x = numbers % 1000 * 0.004
    return [frame(fmt, int(k), (v, 0, 1), (0, 0, 1)) for k, v in zip(numbers, x, strict=True)], x


class Imu:
    """A device on a pseudo terminal behind a lasting name, sending at its rate when it is asked."""

    def __init__(self, link, fmt="wt901", rate_hz=100.0):
        self.path, self.fmt, self.rate_hz = str(link), fmt, rate_hz
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._slave))
        self._began_s, self.sent = time.monotonic(), 0

    def catch_up(self):
        """Write the readings that are due by now."""
        due = int((time.monotonic() - self._began_s) * self.rate_hz)
        for number in range(self.sent, due):
            self.write(frame(self.fmt, number, (0, 0, 1), (0, 0, number % 100)))
        self.sent = due

    def write(self, data):
        with contextlib.suppress(BlockingIOError):  # nobody reads: a wire forgets
            os.write(self._master, data)

    def unplug(self):
        if self._master is not None:
            os.close(self._master)
            os.close(self._slave)
            self._master = None
