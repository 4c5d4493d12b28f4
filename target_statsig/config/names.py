"""Which event names and segment ids Statsig accepts, and which hosts are this machine."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

RESERVED_PREFIX = "statsig::"
"""Prefix of events that Statsig creates, such as exposures."""

DROPPED_CHARACTERS = '\\[]{}<>#=;&$%|"\0\r\n'
"""Statsig answers 202 to an event with such a name, and drops it: https://docs.statsig.com/metrics/raw-events."""

MAX_SEGMENT_ID = 100
"""Most characters of a segment's id: https://docs.statsig.com/console-api/segments."""

_SANITIZED = str.maketrans(dict.fromkeys(DROPPED_CHARACTERS, "_"))

_UNUSABLE_ID = re.compile(r"\s*|\.\.?|.*[\0-\x1f\x7f-\x9f\ud800-\udfff].*", re.DOTALL)
"""Blank, `.` or `..`, or text with a control character or half of a surrogate pair."""


def dropped_characters(name: str) -> str:
    """Return the characters for which Statsig drops an event of this name, as printable text; empty if none."""
    found = [character for character in DROPPED_CHARACTERS if character in name]
    if name.startswith(RESERVED_PREFIX):
        found.append(RESERVED_PREFIX)
    return " ".join(ascii(text)[1:-1] if text < " " else text for text in found)


def sanitized(name: str) -> str:
    """Return the name with `_` in place of each character for which Statsig would drop it."""
    if name.startswith(RESERVED_PREFIX):
        name = RESERVED_PREFIX.replace(":", "_") + name[len(RESERVED_PREFIX) :]
    return name.translate(_SANITIZED)


def is_segment_id(text: str) -> bool:
    """Return whether text can be a segment's id, percent-encoded in the path of a request."""
    return len(text) <= MAX_SEGMENT_ID and _UNUSABLE_ID.fullmatch(text) is None


def is_loopback(server: str) -> bool:
    """Return whether a server is `localhost`, in 127.0.0.0/8, or `[::1]`.

    `server` is as in a `Host` header or after the `//` of a URL, with or without a port and a path.
    """
    try:
        host = urlsplit(f"//{server}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
