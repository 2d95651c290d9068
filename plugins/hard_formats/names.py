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
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()
    return f"{_UNSAFE_CHARACTER.sub('_', name)[:_KEPT_CHARACTERS]}_{digest}"
