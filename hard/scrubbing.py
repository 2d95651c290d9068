"""Takes what is secret out of texts that others will read: passwords, tokens, keys, names.

Known values go wherever they stand; what is not known goes by where it usually stands: behind
`password=`, `Bearer `, in a URL before the `@`, in its query and its path.  Pure; the bundle of
`hard doctor` is made by it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["MASK", "Scrubber", "is_secret", "secrets_in"]

MASK = "********"
_KEY = re.compile(
    r"passw|passphrase|passwd|pwd|secret|token|api[_-]?key|apikey|private|credential|authoriz|hmac|"
    r"signature|bearer|cookie|session[_-]?key|(?:^|[_-])(?:key|pass|auth)$",
    re.IGNORECASE,
)
_SHORTEST = 4
"""A shorter secret would take half of every text with it."""
_WORD = (
    r"[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|authorization|cookie|hmac)\w*"
)
_PATTERNS = (
    # a PEM block, whatever is in it
    (re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL), MASK),
    (
        re.compile(r"(?i)\b(bearer|basic|digest|token)(\s+)(?!is\b)[A-Za-z0-9+/=._~:-]{8,}"),
        rf"\1\2{MASK}",
    ),
    (
        re.compile(
            rf"(?i)({_WORD}[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|(?!/|credential:)[^\s,;&\"'}}\]]+)"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(rf"(?i)(--?{_WORD}[\"']?[\s,]+)(\"[^\"]*\"|'[^']*'|[^\s,\]]+)"), rf"\1{MASK}"),
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>\\]+", re.IGNORECASE)
_KEPT_PATHS = {"", "/", "/metrics", "/healthz", "/readyz"}


def is_secret(key: str) -> bool:
    """Tell whether what is kept under a name is secret; a file that holds it is not."""
    return bool(_KEY.search(key)) and not key.endswith(("_file", "_key_path"))


def secrets_in(table: object, key: str = "") -> Iterator[str]:
    """Yield the secret values of a nested table: by their keys, in URLs, in a program's arguments.

    >>> sorted(secrets_in({"url": "http://me:pa55word@host/", "command": ["x", "--token", "abcd"]}))
    ['abcd', 'me', 'pa55word']
    """
    if isinstance(table, dict):
        for name, value in table.items():
            yield from secrets_in(value, str(name))
    elif isinstance(table, list | tuple):
        for before, value in zip(("", *table), table, strict=False):
            after_flag = isinstance(before, str) and before.startswith("-") and is_secret(before)
            yield from secrets_in(value, "password" if after_flag else key)
    elif isinstance(table, str):
        yield from _secrets_of(table, key)


def _secrets_of(text: str, key: str) -> Iterator[str]:
    if key and is_secret(key):
        yield text
    flag, equals, value = text.partition("=")
    if equals and is_secret(flag.lstrip("-")):
        yield value
    for url in _URL.findall(text):
        yield from filter(None, _userinfo(url))


def _userinfo(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return unquote(parts.username or ""), unquote(parts.password or "")


class Scrubber:
    """Texts without the secrets that are known, and those that show by where they stand.

    `names` gives what stands for each name, of a stream or of a person, instead of it.
    """

    def __init__(self, secrets: Iterable[str], names: Mapping[str, str] | None = None) -> None:
        known = {secret.strip() for secret in secrets}
        forms = {form for secret in known for form in (secret, quote(secret, safe=""))}
        long = sorted((f for f in forms if len(f) >= _SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, long))) if long else None
        self._names = dict(names or {})
        called = sorted(self._names, key=len, reverse=True)
        words = "|".join(map(re.escape, called))
        self._called = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])") if called else None

    def text(self, text: str) -> str:
        """Return a text that may be shown."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        text = _URL.sub(lambda found: _shown_url(found[0]), text)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        if self._called is not None:
            text = self._called.sub(lambda found: self._names[found[0]], text)
        return text

    def table(self, table: Any, key: str = "") -> Any:
        """Return a nested table that may be shown, keys included."""
        if isinstance(table, dict):
            return {self.text(str(k)): self.table(v, str(k)) for k, v in table.items()}
        if isinstance(table, list | tuple):
            pairs = zip(("", *table), table, strict=False)
            return [self.table(v, k if _is_flag(k) else key) for k, v in pairs]
        if isinstance(table, str):
            return MASK if key and is_secret(key) else self.text(table)
        return table


def _is_flag(before: object) -> bool:
    return isinstance(before, str) and before.startswith("-") and is_secret(before)


def _shown_url(url: str) -> str:
    """Return scheme, host and port of a URL: a path may be all that a webhook asks for."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return MASK
    if parts.scheme == "file":
        return url
    who = f"{MASK}@" if "@" in parts.netloc else ""
    path = parts.path if parts.path in _KEPT_PATHS else f"/{MASK}"
    query = f"?{MASK}" if parts.query else ""
    return f"{parts.scheme}://{who}{host}{port}{path}{query}"
