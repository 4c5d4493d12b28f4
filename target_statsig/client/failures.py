"""What the client says when Statsig does not say yes: what happened, what may have been taken, what to do.

Makes the errors, each with its text. Knows no bodies: the words quoted were made fit for it by `words`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypedDict
from urllib.parse import urlsplit

from target_statsig._compat import override
from target_statsig.exceptions import AuthenticationError, NotNowError, RefusedError, TooLargeError
from target_statsig.headings import Heading
from target_statsig.phrases import counted

if TYPE_CHECKING:
    from target_statsig.client.keys import KeyKind

_SECONDS_UP_TO = 120
_TENTHS_UP_TO = 10
_MINUTES_UP_TO = 120

_OK = range(200, 300)
_REDIRECTS = range(300, 400)
_ABOUT_THE_ADDRESS = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class Said:
    """What came of one try.

    Attributes:
        status: The HTTP status, or None where no answer came.
        json: Whether there was JSON in the answer, as there is in Statsig's.
        words: Statsig's own, or what broke the connection; maybe empty.
        host: The host from which no answer came, with the setting that names it.
    """

    status: int | None = None
    json: bool = False
    words: str = ""
    host: str = ""

    @override
    def __str__(self) -> str:
        """Return the first half of a sentence that goes on with `to ...`."""
        if self.status is None:
            return f"no answer came from {self.host} ({self.words})"
        if not self.json:
            return f"Statsig, or a proxy on the way there, answered {self.status} without JSON"
        doubt = " but not that it succeeded" if self.status in _OK else ""
        words = f" ({self.words})" if self.words else ""
        return f"Statsig answered {self.status}{doubt}{words}"


@dataclass(slots=True)
class Errand:
    """One request, and how it has fared so far.

    Attributes:
        what: A phrase for it, such as "500 events of stream 'orders'" or "adding 10 ids to segment 'vips'".
        kind: The kind of key that it carries.
        key: That key.
        url: Where it goes.
        size: Bytes of its body, as sent.
        left: Seconds that it may yet spend on tries and on the waits between them.
        tries: How often it was tried.
        said: What came of the last try.
        maybe_taken: Statsig may have acted upon a try: its answer was lost, or does not deny it.
    """

    what: str
    kind: KeyKind
    key: str
    url: str
    size: int
    left: float
    tries: int = 0
    said: Said = Said()
    maybe_taken: bool = False

    @property
    def host(self) -> str:
        """The host that it goes to, with the setting that names it."""
        return f"{urlsplit(self.url).hostname}, which `{self.kind.url_setting}` names"

    def wrong_key(self) -> AuthenticationError:
        """Make the error for a key that is not accepted."""
        kind = self.kind
        return AuthenticationError(
            f"{self.said} to {self.what}, with the key in `{kind.setting}`. {kind.describe(self.key)} {kind.wanted}"
        )

    def refused(self) -> RefusedError:
        """Make the error for a request that will never be taken."""
        text = f"{self.said} to {self.what}."
        if self.said.status in _REDIRECTS:
            text += f" Redirects are not followed: set `{self.kind.url_setting}` to where this one leads."
        elif self.said.status in _ABOUT_THE_ADDRESS:
            text += f" If that is a surprise, does `{self.kind.url_setting}` lead to the right place?"
        return RefusedError(text, **self._facts())

    def too_large(self) -> TooLargeError:
        """Make the error for a body that is too large."""
        text = f"{self.said} to {self.what}, {counted(self.size, 'byte')} as sent. Lower {self.kind.size_settings}."
        return TooLargeError(text, **self._facts())

    def used_up(self, retry_timeout: float) -> NotNowError:
        """Make the error for retries that are used up.

        Args:
            retry_timeout: The seconds that there were.
        """
        tries = counted(self.tries, "try", "tries")
        text = (
            f"Given up on {self.what} after {tries} in the {duration(retry_timeout)} that `retry_timeout` allows: "
            f"at last {self.said}. {self._unreachable()}{self._maybe_taken()}"
        )
        heading = None if self.said.status else Heading.UNREACHABLE
        return NotNowError(text.rstrip(), heading=heading, **self._facts())

    def come_back(self, wait: float, now: float) -> NotNowError:
        """Make the error for a `Retry-After` that asks for more time than is left.

        Args:
            wait: The seconds that it asks for.
            now: The time of day, in seconds since 1970.
        """
        when = datetime.fromtimestamp(math.ceil(now + wait), tz=timezone.utc)
        text = (
            f"{self.said} to {self.what}, asking for a wait of {duration(wait)}, "
            f"and `retry_timeout` leaves {duration(self.left)}. {self._maybe_taken()}"
            f"Run it again after {when:%Y-%m-%d %H:%M:%S} UTC."
        )
        return NotNowError(text, **self._facts())

    def retrying(self, wait: float, *, maybe_taken: bool) -> str:
        """Return the line for the log that says that it is tried again.

        Args:
            wait: Seconds until then.
            maybe_taken: Whether the last try may have taken effect.
        """
        said = str(self.said)
        effect = ", which may have taken effect all the same" if maybe_taken else ""
        return (
            f"{said[0].upper()}{said[1:]} to {self.what}{effect}: trying again in {duration(wait)}, "
            f"for {duration(self.left)} more at most"
        )

    def waiting(self, wait: float) -> str:
        """Return the line for the log that says, during a long wait, what for.

        Args:
            wait: Seconds until the next try.
        """
        last = f"; at last {self.said}" if self.tries else ""
        return f"Still waiting for {self.host}, to go on with {self.what}{last}: the next try is in {duration(wait)}"

    def _unreachable(self) -> str:
        if self.said.status is not None or self.maybe_taken:
            return ""
        return f"Does `{self.kind.url_setting}` lead to the right place, and may this machine go there? "

    def _maybe_taken(self) -> str:
        return "No answer denies that a try was taken: it may have been taken. " if self.maybe_taken else ""

    def _facts(self) -> _Facts:
        words = "" if self.said.status is None else self.said.words
        return {"status": self.said.status, "words": words}


class _Facts(TypedDict):
    status: int | None
    words: str


def duration(seconds: float) -> str:
    """Return a length of time as people say it, rounded up: `3.2 s`, `45 s`, `12 min`, `2 h 5 min`."""
    seconds = max(seconds, 0.0)
    if seconds < _TENTHS_UP_TO:
        return f"{math.ceil(seconds * 10) / 10:g} s"
    if seconds < _SECONDS_UP_TO:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < _MINUTES_UP_TO:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"
