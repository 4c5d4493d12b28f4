"""Statsig's own words about a failure, made fit for a log: short, and without what the request was trusted with.

Knows the shape of bodies and answers, and nothing of what they mean.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

import msgspec

from target_statsig.phrases import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_WORDS = 200
"""Characters of an answer that are quoted."""

MAX_READ = 2_000
"""Characters of an answer that are looked at."""

HIDDEN = "…"

_GZIP = b"\x1f\x8b"
_ANY_WINDOW = zlib.MAX_WBITS | 32


def decode(body: bytes) -> object:
    """Return the JSON of an answer, or None where it holds none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def quote(answer: object, *, sent: bytes | None, key: str) -> str:
    """Return what an answer says went wrong, without ids, values from records and the key, should it repeat them.

    Args:
        answer: The decoded answer; its `message` or `error` is quoted where that is a string.
        sent: The body of the request, gzip or not. What its lists hold, the events and the ids, is hidden.
        key: The key of the request.
    """
    if not isinstance(answer, dict):
        return ""
    said = next((text for name in ("message", "error") if isinstance(text := answer.get(name), str)), "")
    text = " ".join(said[:MAX_READ].split())
    if not text:
        return ""
    lower = text.lower()
    repeated = {value for value in (key, *_in_lists(sent)) if value and value.lower() in lower}
    for value in sorted(repeated, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", HIDDEN, text, flags=re.IGNORECASE)
    text = visible(text)
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"


def _in_lists(sent: bytes | None) -> Iterator[str]:
    if not sent:
        return
    body = decode(zlib.decompress(sent, _ANY_WINDOW) if sent.startswith(_GZIP) else sent)
    if isinstance(body, dict):
        for value in body.values():
            if isinstance(value, list):
                yield from _leaves(value)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for member in value.values():
            yield from _leaves(member)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield " ".join(value.split())
    elif value is not None and not isinstance(value, bool):
        yield str(value)
