"""The two kinds of API key: how each is known, where it is found, and what is said of a wrong one."""

from __future__ import annotations

import enum

from target_statsig.errors import AuthenticationError

SHOWN_CHARACTERS = 4
MIN_CHARACTERS = 8
"""Characters; the end of a shorter key would give too much of it away."""

PLACE = "Project Settings > Keys & Environments"
"""Where the Statsig console shows the keys."""

TITLES = {"secret-": "Server Secret Key", "console-": "Console API Key", "client-": "Client SDK Key"}
"""What Statsig calls a key, by what it begins with."""


class ApiKeyKind(enum.Enum):
    """A kind of key that this target needs; see https://docs.statsig.com/access-management/api-keys.

    Attributes:
        setting: The setting that holds it.
        prefix: What it begins with.
        header: The header that carries it.
        url_setting: The setting with the address of the API that it is for.
        size_settings: The settings that make that API's requests smaller, as they stand in a text.
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
        """What Statsig calls such a key."""
        return TITLES[self.prefix]

    @property
    def wanted(self) -> str:
        """A sentence that says which key to use, and where it is found."""
        return f"Use the project's {self.title}, `{self.prefix}…`, from {PLACE} in Statsig."

    def other_prefix(self, key: str) -> str | None:
        """Return what a key begins with if that makes it a key of another kind."""
        return next((prefix for prefix in TITLES if prefix != self.prefix and key.startswith(prefix)), None)

    def check(self, key: str) -> str:
        """Return the key if a header can hold it.

        Raises:
            AuthenticationError: There is none, or it has characters that no key has.
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
        """Return which key was used, by its last characters, and whether it is of another kind."""
        end = key[-SHOWN_CHARACTERS:]
        known = f"The key used ends in `…{end}`" if len(key) >= MIN_CHARACTERS else "The key used is very short"
        other = self.other_prefix(key)
        if other is not None:
            return f"{known} and is a {TITLES[other]} (`{other}…`), which cannot be used here."
        if not key.startswith(self.prefix):
            return f"{known} and does not begin with `{self.prefix}`."
        return f"{known}. It may be revoked, or lack a permission."
