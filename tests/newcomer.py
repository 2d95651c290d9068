"""Types what `systemd/RASPBERRY-PI.md` prints, command by command, as its reader would; a command.

    python3 tests/newcomer.py

In a checkout, as a user who may sudo, on a machine with systemd (`systemd/test-service` boots one).
`hard init` is answered at a terminal; its phone is virtual, sends from then on and walks about.
What a subscriber is shown has to come within a minute; everything else has to succeed.  It needs
Python only: what it types brings the rest.
"""

# ruff: noqa: T201 - a command prints

import os
import pty
import re
import select
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "systemd/RASPBERRY-PI.md"
ASKING = "hard init -c /etc/hard/hard.toml"
ANSWERS = (
    ("MQTT broker", ""),
    ("(TLS)?", ""),
    ("User there", ""),
    ("Sender", "sensor-logger"),
    ("System of the phone", "android"),
    ("Where is it worn?", "pocket"),
    ("Time zone", "Europe/Berlin"),
    ("Name of this machine", ""),
)
PATIENCE_S = 60.0
PHONE = [".venv/bin/python", "tests/booted.py", "phone", "900", "--topic", "sensor-logger"]


def printed(page):
    """Return the commands of a page, in its order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def typed(command):
    """Run a command to its end, its output passed on."""
    done = subprocess.run(["sh", "-c", command], check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"exit status {done.returncode}: {command}")


def shown(command, expected):
    """Run a subscriber until it has shown a line with a text."""
    with subprocess.Popen(["sh", "-c", f"exec {command}"], stdout=subprocess.PIPE) as process:
        try:
            end_s, text = time.monotonic() + PATIENCE_S, b""
            while expected not in text.decode(errors="replace"):
                left_s = end_s - time.monotonic()
                if left_s <= 0 or not select.select([process.stdout], [], [], left_s)[0]:
                    raise SystemExit(f"no {expected!r} within {PATIENCE_S:g} s: {command}")
                text += os.read(process.stdout.fileno(), 65536)
        finally:
            process.kill()
    print(text.decode(errors="replace").splitlines()[-1][:300])


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, command):
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvp("sh", ["sh", "-c", f"exec {command}"])

    def until(self, text):
        """Pass on what it shows until a text has come."""
        seen, end_s = "", time.monotonic() + PATIENCE_S
        while text not in seen:
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not select.select([self._fd], [], [], left_s)[0]:
                raise SystemExit(f"no {text!r} at the terminal")
            seen += self._read()

    def type(self, line):
        os.write(self._fd, f"{line}\n".encode())

    def end(self):
        """Pass on the rest; return the exit status."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self):
        try:
            data = os.read(self._fd, 4096).decode(errors="replace")
        except OSError:  # EIO: nobody is at the other end
            return ""
        print(data, end="", flush=True)
        return data


@contextmanager
def answered(command):
    """Answer what `hard init` asks; a phone sends once it is told to, and until the end."""
    terminal = Terminal(command)
    for question, answer in ANSWERS:
        terminal.until(question)
        terminal.type(answer)
    terminal.until("subscribe:")
    with subprocess.Popen(PHONE) as phone:
        try:
            terminal.until("Write /etc/hard/hard.toml?")
            terminal.type("")
            terminal.until("next: .venv/bin/hard service install")
            if status := terminal.end():
                raise SystemExit(f"exit status {status}: {command}")
            yield
        finally:
            phone.kill()


def main():
    os.chdir(ROOT)
    commands = iter(printed(PAGE))
    for command in commands:
        print(f"$ {command}", flush=True)
        if command.endswith(ASKING):
            break
        typed(command)
    with answered(command):
        for later in commands:
            print(f"$ {later}", flush=True)
            if later.startswith("mosquitto_sub"):
                shown(later, "hard/" if "/event'" in later else '"components"')
            else:
                typed(later)


if __name__ == "__main__":
    sys.exit(main())
