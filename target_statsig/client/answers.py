"""The meaning of Statsig's responses, and the messages about them."""

from __future__ import annotations

import gzip
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec

from target_statsig.config.choices import ApiKeyKind
from target_statsig.errors import (
    AuthenticationError,
    Heading,
    NotNowError,
    RefusedError,
    RequestError,
    TargetStatsigError,
    TooLargeError,
)
from target_statsig.reports.text import counted, duration, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_statsig.client.http import Request

Failed = TypeVar("Failed", bound=RequestError)

MAX_MESSAGE = 200
"""Characters of Statsig's message that are quoted."""

_MAX_READ = 2_000
_GZIP = b"\x1f\x8b"

_OK = range(200, 300)
_SERVER_ERRORS = range(500, 600)
_ABOUT_THE_ADDRESS = frozenset({*range(300, 400), 404, 405, 501})

_TRY_AGAIN = frozenset({408, 409, 429})
"""Client errors that pass with time: a timeout, another update of the list, a quota.

Statsig's own SDKs lose the events of a 429; a pipeline must not."""

_TURNED_AWAY = frozenset({409, 429})
"""Those of them that come before Statsig has changed anything."""

_REVIEW = re.compile(
    r"(?=.*\breview(?:s|ers?)?\b).*\b(?:approv|await|need|pending|requir|submit)", re.IGNORECASE | re.DOTALL
)
"""Statsig does not document its answer to a change that needs a review, so match its message. A 2xx with such a
message proposed the change and did not make it."""

_REVIEW_REMEDY = (
    "A sync cannot wait for a reviewer. Set `respect_review_settings` to false. If it is false, let an admin change "
    "the project's reviews (Project Settings > Reviews)."
)


_REFUSALS = {401: AuthenticationError, 403: AuthenticationError, 413: TooLargeError}


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one try.

    Attributes:
        status: The HTTP status, or None if no response came.
        body: The decoded JSON of the response; None if it has none.
        message: Statsig's message, or the error of the connection; may be empty.
        retry_after: Seconds of a `Retry-After` header.
        sent: Whether the request may have reached the server.
        wants_review: Whether Statsig asks for a review of the change.
    """

    status: int | None = None
    body: object = None
    message: str = ""
    retry_after: float = 0.0
    sent: bool = True
    wants_review: bool = False

    @property
    def error(self) -> type[TargetStatsigError] | None:
        """The class of the error that it means; None if the request was taken. After a NotNowError, try again.

        Like Statsig's own SDKs, it treats a 2xx with `success: false` or without JSON as a failure, because a proxy may
        have sent it. Both APIs answer with objects; those of the Console API have no `success`.
        Sources: https://docs.statsig.com/http-api and the SDKs at https://github.com/statsig-io.
        """
        status = self.status
        if self.wants_review:
            return RefusedError
        if status is None or status in _TRY_AGAIN:
            return NotNowError
        if status in _OK:
            return None if isinstance(self.body, dict) and not self._denies else NotNowError
        if status in _SERVER_ERRORS and status != HTTPStatus.NOT_IMPLEMENTED:
            return NotNowError
        return _REFUSALS.get(status, RefusedError)

    @property
    def maybe_taken(self) -> bool:
        """Whether Statsig may have acted on a changing request without confirming it.

        A server may fail, or a proxy may time out, after the events were taken. Statsig's own `success: false` means
        that they were not.
        """
        if self.status is None:
            return self.sent
        if self.error is not NotNowError or self.status in _TURNED_AWAY:
            return False
        return not (self._denies and (self.status in _OK or self.status == HTTPStatus.SERVICE_UNAVAILABLE))

    @property
    def _denies(self) -> bool:
        return isinstance(self.body, dict) and self.body.get("success") is False


@dataclass(slots=True)
class Call:
    """A request and the result of its tries so far.

    Attributes:
        what: A phrase for it, such as "500 events of stream 'orders'" or "adding 10 ids to segment 'vips'".
        seconds_left: Seconds left for tries and the waits between them.
        answer: The result of the last try.
        maybe_taken: Whether Statsig may have acted on a try without confirming it.
    """

    what: str
    kind: ApiKeyKind
    request: Request
    seconds_left: float
    tries: int = 0
    answer: Answer = Answer()
    maybe_taken: bool = False

    @property
    def key(self) -> str:
        """The key that it carries."""
        return self.request.headers.get(self.kind.header, "")

    @property
    def changes(self) -> bool:
        """Whether it would change something in Statsig."""
        return self.request.method != "GET"

    def wants_review(self, body: object) -> bool:
        """Return whether an answer to a change of a segment asks for a review."""
        message = body.get("message") if isinstance(body, dict) else None
        is_change = self.changes and self.kind is ApiKeyKind.CONSOLE
        return is_change and isinstance(message, str) and _REVIEW.match(message) is not None

    def refusal(self) -> TargetStatsigError:
        """Return the error for an answer that ends the request."""
        status, kind, text = self.answer.status, self.kind, f"{self._answered} to {self.what}"
        if self.answer.error is AuthenticationError:
            return AuthenticationError(
                f"{text}, with the key in `{kind.setting}`. {kind.describe(self.key)} {kind.wanted}"
            )
        if self.answer.wants_review:
            return self._error(RefusedError, f"{text}. {_REVIEW_REMEDY}", heading=Heading.REVIEW)
        if self.answer.error is TooLargeError:
            size = counted(len(self.request.body or b""), "byte")
            return self._error(TooLargeError, f"{text} (request of {size}). Lower {kind.size_settings}.")
        hint = ""
        if status in _ABOUT_THE_ADDRESS:
            hint = f" Check that `{kind.url_setting}` is the right address. Redirects are not followed."
        return self._error(RefusedError, f"{text}.{hint}")

    def used_up(self, retry_timeout: float) -> NotNowError:
        """Return the error for retries that used up `retry_timeout` seconds."""
        tries = counted(self.tries, "try", "tries")
        text = (
            f"Gave up on {self.what} after {tries} in {duration(retry_timeout)} (`retry_timeout`). The last result: "
            f"{self._answered}.{self._doubt}"
        )
        if self.answer.status is None and not self.maybe_taken:
            text += f" Check `{self.kind.url_setting}`, and that this machine can connect to it."
        return self._error(NotNowError, text, heading=None if self.answer.status else Heading.UNREACHABLE)

    def come_back(self, now: float) -> NotNowError:
        """Return the error for a `Retry-After` beyond the time that is left; `now` in seconds since 1970."""
        wait = self.answer.retry_after
        when = datetime.fromtimestamp(math.ceil(now + wait), tz=UTC)
        text = (
            f"{self._answered} to {self.what} and asked for a wait of {duration(wait)}, but `retry_timeout` leaves "
            f"only {duration(self.seconds_left)}.{self._doubt} Run it again after {when:%Y-%m-%d %H:%M:%S} UTC."
        )
        return self._error(NotNowError, text)

    def retrying(self, wait: float) -> str:
        """Return the log line for a retry in `wait` seconds."""
        answered = f"{self._answered[0].upper()}{self._answered[1:]} to {self.what}"
        effect = ", but the change may have been made" if self.changes and self.answer.maybe_taken else ""
        return f"{answered}{effect}. Next try in {duration(wait)}; giving up in {duration(self.seconds_left)}"

    @property
    def _host(self) -> str:
        return f"{urlsplit(self.request.url).hostname}, the host of `{self.kind.url_setting}`"

    @property
    def _answered(self) -> str:
        """The start of a sentence that continues with `to ...`."""
        status, message = self.answer.status, self.answer.message
        if status is None:
            return f"no answer came from {self._host} ({message})"
        if self.answer.body is None:
            return f"Statsig, or a proxy in between, answered {status} without JSON"
        no_yes = " but did not confirm success" if status in _OK else ""
        return f"Statsig answered {status}{no_yes}{f' ({message})' if message else ''}"

    @property
    def _doubt(self) -> str:
        return " Statsig may have taken the request: no answer denies it." if self.maybe_taken else ""

    def _error(self, error: type[Failed], text: str, *, heading: Heading | None = None) -> Failed:
        status = self.answer.status
        return error(text, status=status, message=self.answer.message if status else "", heading=heading)


def decode_json(body: bytes) -> object:
    """Return the JSON of a response; None if it has none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def quote_message(body: object, *, sent: bytes | None, key: str) -> str:
    """Return Statsig's message (`message` or `error`), shortened, without ids, values from records and the key.

    Values in lists of the request's body (events and ids) are hidden; `sent` is that body, gzip or not.
    """
    if not isinstance(body, dict):
        return ""
    said = next((text for name in ("message", "error") if isinstance(text := body.get(name), str)), "")
    text = " ".join(said[:_MAX_READ].split())
    if not text:
        return ""
    lower = text.lower()
    repeated = {value for value in (key, *_values_sent(sent)) if value and value.lower() in lower}
    for value in sorted(repeated, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text, flags=re.IGNORECASE)
    text = visible(text)
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def _values_sent(sent: bytes | None) -> Iterator[str]:
    if not sent:
        return
    body = decode_json(gzip.decompress(sent) if sent.startswith(_GZIP) else sent)
    if isinstance(body, dict):
        for value in body.values():
            if isinstance(value, list):
                yield from _leaves(value)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _leaves(member)
    elif isinstance(value, str):
        yield " ".join(value.split())
    elif value is not None and not isinstance(value, bool):
        yield str(value)
