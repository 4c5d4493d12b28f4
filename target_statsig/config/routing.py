"""Which settings a stream gets: exact names, globs, and the top level's defaults below them.

Pure. Refuses to know what a setting means; `parse` turns what is found here into values.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from target_statsig.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

WILDCARDS = frozenset("*?[]")

Entry = Mapping[str, Any]


def literal_length(pattern: str) -> int:
    """Return how many characters of a glob are no wildcards."""
    return sum(character not in WILDCARDS for character in pattern)


def find_entry(stream: str, entries: Mapping[str, Entry]) -> str | None:
    """Return the key of `streams` that a stream belongs to, or None.

    An exact name wins; among globs the one with the longest literal part.

    Raises:
        SettingsError: Two globs match equally well.
    """
    if stream in entries:
        return stream
    matches = sorted(
        (key for key in entries if WILDCARDS.intersection(key) and fnmatchcase(stream, key)),
        key=literal_length,
        reverse=True,
    )
    if len(matches) > 1 and literal_length(matches[0]) == literal_length(matches[1]):
        msg = (
            f"`streams`: '{matches[0]}' and '{matches[1]}' match stream '{stream}' equally well. "
            f"Add an entry with the stream's exact name."
        )
        raise SettingsError([msg])
    return matches[0] if matches else None


def unmatched(streams: Collection[str], entries: Iterable[str]) -> list[str]:
    """Return the keys of `streams` that are neither the name of one of these streams nor a glob for it."""
    return [
        key
        for key in entries
        if key not in streams
        and not (WILDCARDS.intersection(key) and any(fnmatchcase(stream, key) for stream in streams))
    ]


def join_dotted_keys(split: Mapping[str, Any]) -> dict[str, Any]:
    """Put keys together again that Meltano split at their dots: `{"a": {"b": 1}}` is `{"a.b": 1}`.

    For mappings whose values are plain: whatever is nested was a dotted key.
    """
    joined: dict[str, Any] = {}
    for key, value in split.items():
        if isinstance(value, Mapping):
            joined.update({f"{key}.{rest}": leaf for rest, leaf in join_dotted_keys(value).items()})
        else:
            joined[key] = value
    return joined


def join_stream_names(split: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Put stream names together again that Meltano split at their dots.

    Args:
        split: The `streams` setting as it arrived.
        known: The names of the stream settings: what tells an entry from a part of a name.
    """
    joined: dict[str, Any] = {}
    for name, value in split.items():
        parts = (
            {key: inner for key, inner in value.items() if _is_name_part(key, inner, known)}
            if isinstance(value, Mapping)
            else {}
        )
        for rest, inner in join_stream_names(parts, known).items():
            joined[f"{name}.{rest}"] = inner
        if not parts:
            joined[name] = value
        elif len(parts) < len(value):
            joined[name] = {key: inner for key, inner in value.items() if key not in parts}
    return joined


def _is_name_part(key: str, value: object, known: frozenset[str]) -> bool:
    if key in known or not isinstance(value, Mapping):
        return False
    return any(inner in known or _is_name_part(inner, deeper, known) for inner, deeper in value.items())
