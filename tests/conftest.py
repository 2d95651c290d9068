"""What several parts of the suite share."""

import os
import signal
import socket
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("whatever the load", deadline=None)
settings.load_profile("whatever the load")

# A shell's background job ignores Ctrl-C, and so would every command that is interrupted here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Figures:
    """Prints what tests tell by `tell`, whatever pytest captures and whichever process ran them."""

    def __init__(self, config):
        self._config = config

    def pytest_runtest_logreport(self, report):
        told = dict(report.user_properties)
        if report.when == "call" and "figures" in told:
            reporter = self._config.pluginmanager.get_plugin("terminalreporter")
            name = report.nodeid.rpartition("::")[2]
            words = (
                told.get("fault", ""),
                f"{name}:",
                told["figures"],
                f"({report.duration:.0f} s)",
            )
            reporter.write_line("\n" + " ".join(filter(None, words)))


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Figures(config))


def pytest_itemcollected(item):
    for marker in item.iter_markers("fast_fault"):
        item.user_properties.append(("fault", marker.args[0]))


@pytest.fixture
def tell(record_property):
    """Return what tells the figures of a test."""
    return lambda text: record_property("figures", text)


@pytest.fixture(scope="session")
def recordings():
    """Return the folder of the real recordings; skip, saying so, where there is none."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("HARD_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}: set HARD_DATA")
    return folder


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
