"""The kinds of key that Statsig has: where each is set, sent and found. Shows no more than the end of one."""

from __future__ import annotations

import enum

from target_statsig.exceptions import AuthenticationError

WHERE_KEYS_ARE = "the Statsig console shows it under Project Settings > Keys & Environments"

_SHOWN = 4
_LONG_ENOUGH = 8
"""Characters; of what is shorter, and no key, the end would give too much away."""

_TITLES = {"secret-": "Server Secret Key", "console-": "Console API Key", "client-": "Client SDK Key"}


class KeyKind(enum.Enum):
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
        """Take what there is to know of a kind."""
        self.setting = setting
        self.prefix = prefix
        self.header = header
        self.url_setting = url_setting
        self.size_settings = size_settings

    @property
    def wanted(self) -> str:
        """Which key is wanted, and where it is found."""
        return f"Wanted is the project's {_TITLES[self.prefix]}, `{self.prefix}…`: {WHERE_KEYS_ARE}."

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
                f"`{self.setting}` holds a blank, a line break or another character that no key has: "
                f"was it copied whole, and nothing besides? {self.wanted}"
            )
            raise AuthenticationError(msg)
        return key

    def describe(self, key: str) -> str:
        """Say which key was used, by its last characters, and of which kind it is where that is the wrong one."""
        known = f"The key used ends in `…{key[-_SHOWN:]}`" if len(key) >= _LONG_ENOUGH else "The key used is very short"
        for prefix, title in _TITLES.items():
            if key.startswith(prefix) and prefix != self.prefix:
                return f"{known} and is a {title} (`{prefix}…`), which cannot be used here."
        if not key.startswith(self.prefix):
            return f"{known} and does not begin with `{self.prefix}`."
        return f"{known}: it may have been revoked, or lack a permission."
