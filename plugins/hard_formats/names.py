"""Ids of streams that may stand in topics, file names and identifiers."""

from __future__ import annotations

import re
from hashlib import blake2b

_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNSAFE_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")
_HASH_BYTES = 3
_KEPT_CHARACTERS = 64 - 2 * _HASH_BYTES - 1


def safe_id(name: str) -> str:
    """Return `name` if it may stand in a topic, else an escaped form that stays distinct.

    >>> safe_id("wrist-1")
    'wrist-1'
    >>> safe_id("phone of Zoë")
    'phone_of_Zo__905640'
    """
    if _SAFE.fullmatch(name):
        return name
    return f"{_UNSAFE_CHARACTER.sub('_', name)[:_KEPT_CHARACTERS]}_{_digest(name)}"


def name_beside(stream: str, device: str) -> str:
    """Return the name of a stream whose `device` sends under a name that another one has.

    >>> name_beside("wrist-1", "7f3a9c")
    'wrist-1-af3566'
    """
    return f"{stream[:_KEPT_CHARACTERS]}-{_digest(device)}"


def _digest(name: str) -> str:
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()
