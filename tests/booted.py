"""What stands beside the service in the Debian that `systemd/test-service` boots; a command.

/opt/hard/bin/python tests/booted.py phone SECONDS      a virtual phone walks about, real time
                               [--topic TOPIC]
… imu LINK                     a WT901 at rest, on a pseudo terminal, until LINK to it is gone
… hanging FILE run -c …        the daemon, whose inference hangs once FILE is there
… end-network-thread PID       ends the thread of a process that waits in select(), unseen
"""

import argparse
import contextlib
import ctypes
import os
import sys
import threading
import time
from pathlib import Path

from hard.__main__ import main as run_hard
from hard.classifier import TFLiteClassifier

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.imus import Imu, frame
from tests.load.streams import Sender, planned, publish

PTRACE_ATTACH, PTRACE_DETACH, PTRACE_GETREGS, PTRACE_SETREGS = 16, 17, 12, 13
REGISTERS = 27
ORIG_RAX, RIP, RAX, RDI = 15, 16, 10, 14
"""Places in user_regs_struct of x86-64, 8 bytes each."""
SYS_SELECT, SYS_EXIT, SYS_PSELECT6 = 23, 60, 270
WALL = 0x40000000


def phone(seconds, topic):
    """Send a message a second as Sensor Logger does, through the broker on this machine."""
    wearer = Sender(5, 0.0, seconds, 50)  # it goes downstairs, walks, stands
    wearer.topic = topic or wearer.topic
    publish(planned([wearer], seconds, 0.0), [wearer], 1883, time.time_ns())


def imu(link):
    device = Imu(link)
    os.chmod(device.path, 0o666)  # noqa: PTH101 - udev's rule would do it
    began_s, sent = time.monotonic(), 0
    while link.is_symlink():
        while sent < (time.monotonic() - began_s) * device.rate_hz:
            device.write(frame(device.fmt, sent, (0, 0, 1), (0, 0, 0)))
            sent += 1
        time.sleep(0.02)


def hanging(file, arguments):
    """Run the daemon; its inference takes `file` away and returns no more."""
    infer = TFLiteClassifier.raw

    def raw(self, windows):
        with contextlib.suppress(OSError):
            file.unlink()
            threading.Event().wait()
        return infer(self, windows)

    TFLiteClassifier.raw = raw
    sys.argv[1:] = arguments
    run_hard()


def end_network_thread(pid):
    """Let the one thread that sits in select() call exit: nothing of Python or paho sees it go."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    while not (threads := _in_select(pid)):
        time.sleep(0.01)
    (thread,) = threads

    def trace(request, data=None):
        if libc.ptrace(request, thread, None, data) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request}")

    trace(PTRACE_ATTACH)
    os.waitpid(thread, WALL)
    registers = (ctypes.c_uint64 * REGISTERS)()
    trace(PTRACE_GETREGS, ctypes.addressof(registers))
    registers[RIP] -= 2  # back onto the syscall instruction that it waits in
    registers[ORIG_RAX], registers[RAX], registers[RDI] = 2**64 - 1, SYS_EXIT, 0
    trace(PTRACE_SETREGS, ctypes.addressof(registers))
    trace(PTRACE_DETACH)


def _in_select(pid):
    calls = {
        int(task.name): (task / "syscall").read_text("ascii").split()[0]
        for task in Path(f"/proc/{pid}/task").iterdir()
    }
    return [task for task, call in calls.items() if call in {str(SYS_SELECT), str(SYS_PSELECT6)}]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sends = commands.add_parser("phone")
    sends.add_argument("seconds", type=int)
    sends.add_argument("--topic")
    commands.add_parser("imu").add_argument("link", type=Path)
    hangs = commands.add_parser("hanging")
    hangs.add_argument("file", type=Path)
    hangs.add_argument("arguments", nargs=argparse.REMAINDER)
    commands.add_parser("end-network-thread").add_argument("pid", type=int)
    options = vars(parser.parse_args())
    globals()[options.pop("command").replace("-", "_")](**options)


if __name__ == "__main__":
    main()
