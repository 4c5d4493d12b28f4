"""The two kinds of API key, and messages about wrong ones."""

from __future__ import annotations

import enum

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
