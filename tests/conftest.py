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
