"""What is worth a warning about records that went all the same: counts, and names of events."""

from __future__ import annotations

from dataclasses import dataclass, field

RENAMED_LISTED = 100
"""New names listed at most: where every record has a name of its own, the list must not grow with the stream."""


@dataclass(slots=True)
class MappingNotes:
    """Filled by the mapping of some records.

    Attributes:
        time_defaulted: Events without a time of their own; they have that of their extraction, or of now.
        custom_ignored: Records whose `custom` is no object.
        consent_ignored: Records whose marketing consent says neither yes nor no.
        renamed: Sanitized event names, by the name before; the first ones only.
        old_times: Events of over 60 days ago.
        future_times: Events of a time to come.
    """

    time_defaulted: int = 0
    custom_ignored: int = 0
    consent_ignored: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    old_times: int = 0
    future_times: int = 0

    def add_renamed(self, old: str, new: str) -> None:
        """Note that an event name was sanitized."""
        if len(self.renamed) < RENAMED_LISTED:
            self.renamed[old] = new
