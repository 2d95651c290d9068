"""A network of a daemon's own: a namespace whose only way out leads to the test's broker."""

import os
import subprocess
from pathlib import Path


def possible():
    """Tell whether this machine and user may make network namespaces and rules in them."""
    name = f"hardtry{os.getpid()}"
    try:
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        subprocess.run(
            ["ip", "netns", "exec", name, "nft", "list", "ruleset"], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return True


class Namespace:
    """`prefix` runs a program in it; `broker` and `daemon` are the addresses of both ends.

    Its /etc/hosts is `hosts`, and nobody else answers for a name there.
    """

    def __init__(self, number):
        self._name = f"hardf{os.getpid()}"
        self._outside, self._inside = f"hfo{os.getpid()}", f"hfi{os.getpid()}"
        self.broker, self.other = f"10.213.{number}.1", f"10.213.{number}.3"
        self._address = f"10.213.{number}.2"
        self.prefix = ["ip", "netns", "exec", self._name]
        folder = Path("/etc/netns") / self._name
        self.hosts = folder / "hosts"
        folder.mkdir(parents=True)
        self.hosts.write_text("127.0.0.1 localhost\n")
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        (folder / "nsswitch.conf").write_text("hosts: files\n")
        _ip("netns", "add", self._name)
        _ip("link", "add", self._outside, "type", "veth", "peer", "name", self._inside)
        _ip("link", "set", self._inside, "netns", self._name)
        for address in (self.broker, self.other):
            _ip("addr", "add", f"{address}/24", "dev", self._outside)
        _ip("link", "set", self._outside, "up")
        self.run("ip", "addr", "add", f"{self._address}/24", "dev", self._inside)
        self.run("ip", "link", "set", self._inside, "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("nft", "add table inet cut")
        for hook in ("input", "output"):
            self.run("nft", f"add chain inet cut {hook} {{ type filter hook {hook} priority 0; }}")

    def run(self, *command):
        subprocess.run([*self.prefix, *command], check=True, capture_output=True)

    def drop_all(self):
        """From now on every packet vanishes and nobody is told."""
        for hook in ("input", "output"):
            self.run("nft", f"add rule inet cut {hook} drop")

    def drop_some(self, percent):
        """Let a share of the packets vanish, at random."""
        for hook in ("input", "output"):
            self.run("nft", f"add rule inet cut {hook} numgen random mod 100 < {percent} drop")

    def drop_none(self):
        self.run("nft", "flush table inet cut")

    def limit(self, rate):
        """Let no more than `rate` ("64kbit") out."""
        self.run(
            *("tc", "qdisc", "add", "dev", self._inside, "root"),
            *("tbf", "rate", rate, "burst", "3000", "latency", "2s"),
        )

    def sent_syn(self):
        """Begin to count attempts to connect; `syn` returns how many there were."""
        self.run("nft", "add counter inet cut syn")
        self.run("nft", "add rule inet cut output tcp flags & (syn|ack) == syn counter name syn")

    def syn(self):
        told = subprocess.run(
            [*self.prefix, "nft", "list", "counter", "inet", "cut", "syn"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        return int(told[told.index("packets") + 1])

    def close(self):
        subprocess.run(["ip", "netns", "del", self._name], check=False)
        subprocess.run(["ip", "link", "del", self._outside], check=False, capture_output=True)
        for path in self.hosts.parent.iterdir():
            path.unlink()
        self.hosts.parent.rmdir()


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
