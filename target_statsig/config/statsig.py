"""What Statsig accepts: the two kinds of API key, event names, and segment ids."""

from __future__ import annotations

import enum
import re

from target_statsig.errors import AuthenticationError

SHOWN_CHARACTERS = 4
MIN_CHARACTERS = 8
"""The end of a shorter key would reveal too much of it."""

PLACE = "Project Settings > Keys & Environments"
"""Where the Statsig console shows the keys."""

TITLES = {"secret-": "Server Secret Key", "console-": "Console API Key", "client-": "Client SDK Key"}
"""Statsig's name of a key, by its prefix."""


class ApiKeyKind(enum.Enum):
    """A kind of key that this target needs; see https://docs.statsig.com/access-management/api-keys.

    Attributes:
        setting: The setting that holds it.
        header: The header that carries it.
        url_setting: The setting with the address of its API.
        size_settings: The settings that make that API's requests smaller, as text.
    """

    SERVER_SECRET = (
        "server_secret_key",
        "secret-",
        "statsig-api-key",
        "events_url",
        "`batch_size_rows` or `batch_size_bytes`",
    )
    CONSOLE = ("console_api_key", "console-", "STATSIG-API-KEY", "console_url", "`segment_batch_size`")

    def __init__(self, setting: str, prefix: str, header: str, url_setting: str, size_settings: str) -> None:
        """Take the attributes of a kind."""
        self.setting = setting
        self.prefix = prefix
        self.header = header
        self.url_setting = url_setting
        self.size_settings = size_settings

    @property
    def title(self) -> str:
        """Statsig's name of such a key."""
        return TITLES[self.prefix]

    @property
    def wanted(self) -> str:
        """A sentence about the key to use, and where to find it."""
        return f"Use the project's {self.title}, `{self.prefix}…`, from {PLACE} in Statsig."

    def other_prefix(self, key: str) -> str | None:
        """Return the prefix of a key of another kind, else None."""
        return next((prefix for prefix in TITLES if prefix != self.prefix and key.startswith(prefix)), None)

    def check(self, key: str) -> str:
        """Return the key if a header can hold it.

        Raises:
            AuthenticationError: It is empty, or has characters that no key has.
        """
        if not key:
            msg = f"`{self.setting}` is not set. {self.wanted}"
            raise AuthenticationError(msg)
        if not key.isascii() or not key.isprintable() or " " in key:
            msg = (
                f"`{self.setting}` holds a blank, a line break or another character that no key has. Copy the whole "
                f"key again, and nothing else. {self.wanted}"
            )
            raise AuthenticationError(msg)
        return key

    def describe(self, key: str) -> str:
        """Return a sentence with the last characters of the used key, and whether it is of another kind."""
        end = key[-SHOWN_CHARACTERS:]
        known = f"The key used ends in `…{end}`" if len(key) >= MIN_CHARACTERS else "The key used is very short"
        other = self.other_prefix(key)
        if other is not None:
            return f"{known} and is a {TITLES[other]} (`{other}…`), which cannot be used here."
        if not key.startswith(self.prefix):
            return f"{known} and does not begin with `{self.prefix}`."
        return f"{known}. It may be revoked, or lack a permission."


# Event names and segment ids

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
