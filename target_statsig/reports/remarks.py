"""What is said of records that went all the same, or stayed out on purpose: words for such counts of a stream.

Each count stands here under its name in the report, so that none is kept in silence: the log, the summary and the dry
run say what is here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Remark(NamedTuple):
    """What is said of a count.

    Attributes:
        text: What stands behind the number at the end of a run.
        warning: What the log says once a stream, when the first such record is met; empty where all is well.
    """

    text: str
    warning: str = ""


REMARKS: Mapping[str, Remark] = MappingProxyType(
    {
        "skipped_duplicates": Remark("skipped, since an earlier run delivered them"),
        "deleted_row": Remark(
            "of deleted rows, not sent",
            "records that say that their row was deleted are not sent: nothing happened that could be counted. To send "
            "them all the same, set `deleted_rows` to send.",
        ),
        "maybe_duplicated": Remark(
            "perhaps delivered twice, since an answer was lost or unclear",
            "an answer of Statsig was lost, so that it perhaps counts some records twice.",
        ),
        "time_defaulted": Remark(
            "without a time of their own",
            "records without a time of their own were given the time of their extraction, or now. Name the column that "
            "holds it: `field_mapping: {event_time: …}`.",
        ),
        "old_times": Remark(
            "of over 60 days ago",
            "some records are of over 60 days ago. Statsig does not say how old one may be: look whether they arrive.",
        ),
        "future_times": Remark(
            "of a time to come",
            "some records are of a time to come. Look at the column that `event_time` is read from, at its time zone "
            "(UTC where it has none), and at `time_unit`.",
        ),
        "placeholder_times": Remark(
            "of a time before 2000 or after 2100",
            "some records are of a time before 2000 or after 2100, such as 1970-01-01 or 9999-12-31, which mostly "
            "stands for none. They are sent as of that time: let the tap or a stream map make it null.",
        ),
        "text_values": Remark(
            "with a value that is a text and no number",
            'some values are texts and no numbers, such as "$12.50" or "1,234.50": they are sent, but Statsig cannot '
            "add them up. Let the tap or a stream map make numbers of them.",
        ),
        "long_values": Remark(
            "with a value of over 128 characters",
            "some values are of over 128 characters: Statsig may cut or drop them without a word.",
        ),
        "long_user_ids": Remark(
            "with a user id of over 128 characters",
            "some user ids are of over 128 characters: Statsig may cut or drop them without a word.",
        ),
        "large_metadata": Remark(
            "with metadata of over 4,096 bytes",
            "some records have metadata of over 4,096 bytes: Statsig may cut or drop them without a word. Name the "
            "columns that are needed in `metadata_fields`.",
        ),
        "large_users": Remark(
            "with a user of over 4,096 bytes",
            "some records have a user of over 4,096 bytes: Statsig may cut or drop it without a word.",
        ),
        "custom_ignored": Remark(
            "with a `custom` that is no object, left out",
            "some records have a `custom` that is neither an object nor a text that holds one: it is left out.",
        ),
        "consent_ignored": Remark(
            "with a marketing consent that is neither yes nor no, left out",
            "some records have a marketing consent that says neither yes nor no: it is left out. Yes, y, true, on, 1 "
            "and granted are understood; no, n, false, off, 0 and denied.",
        ),
    }
)
"""By name of the count, in the order in which they are told."""
