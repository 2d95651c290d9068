"""Secrets out of files: a path, or `credential:NAME` for a systemd credential.

Not what a secret must look like: that is the caller's.  Called by the plugins that log in or ask
for a token; each says `CredentialError` in an error of its own.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_CREDENTIAL: Final = "credential:"


class CredentialError(Exception):
    """The file can't be had; the message names key, file and remedy."""


def credential_path(key: str, name: str) -> Path:
    """Return the path of the file that the setting `key` names."""
    if not name.startswith(_CREDENTIAL):
        return Path(name)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise CredentialError(
            f"{key} {name!r}: $CREDENTIALS_DIRECTORY is not set; add LoadCredential= to the unit "
            "or name a file"
        )
    return Path(folder, name.removeprefix(_CREDENTIAL))


def first_line(key: str, name: str) -> str:
    """Return the first line of the file that the setting `key` names, blanks and all."""
    path = credential_path(key, name)
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeError) as error:
        raise CredentialError(f"{key} {str(path)!r} can't be read: {error}") from error


def open_to_others(key: str, name: str | None) -> str | None:
    """Say so if other users of this machine can read the file; systemd guards its credentials."""
    path = Path(name or "")
    if name is None or name.startswith(_CREDENTIAL) or not path.is_file():
        return None
    if not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    return f"{key} {str(path)!r} is open to other users: chmod 600 it"
