"""One event as a few short lines for a person.

Pure. Refuses to know how wide the terminal is: the lines are cut where they are shown.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SHOWN_APART = frozenset({"custom", "customIDs", "statsigEnvironment"})


def sample_lines(event: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield label and text of the lines that show an event; its name and tier are shown elsewhere."""
    user = event.get("user") or {}
    who = {key: value for key, value in user.items() if key not in _SHOWN_APART} | user.get("customIDs", {})
    yield "user", _pairs(who) or "nobody"
    if user.get("custom"):
        yield "custom", _pairs(user["custom"])
    if event.get("value") is not None:
        yield "value", json.dumps(event["value"], ensure_ascii=False)
    if event.get("time") is not None:
        yield "time", show_time(event["time"])
    if event.get("metadata"):
        yield "metadata", _pairs(event["metadata"])


def show_time(time: int | str) -> str:
    """Return a time in milliseconds in ISO 8601, and a string as it is."""
    if isinstance(time, str):
        return time
    try:
        moment = _EPOCH + timedelta(milliseconds=time)
    except OverflowError:
        return str(time)
    return moment.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", " UTC")


def _pairs(members: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{key}={_one_line(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in members.items()
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
