"""`python -m hard`, and the script `hard`: the door to the command line."""

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; a SIGTERM while `hard run` is still being imported ends it cleanly."""
    if "run" in sys.argv[1:3]:  # as the command, maybe behind -v
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from hard import cli  # noqa: PLC0415 - takes a while, and the signal may come meanwhile

    cli.main()


if __name__ == "__main__":
    main()
