"""What a fatal error begins with, so that it can be found in the README's troubleshooting, which has them all verbatim.

Refuses to know when an error is raised. In the order in which a user meets them, as in the README.
"""

from __future__ import annotations

import enum


class Heading(enum.Enum):
    """The first words of a fatal error; what follows says what happened, what was and was not sent, what to do."""

    SETTINGS = "The configuration cannot be used"
    KEY = "Statsig does not accept the key"
    UNREACHABLE = "Statsig cannot be reached"
    STORE = "The store cannot be used"
    SHARED_STREAM = "The stream is sent by another run"
    INPUT = "The input cannot be used"
    NO_SEGMENT = "The segment does not exist"
    SEGMENT_TYPE = "The segment is no ID list"
    ID_TYPE = "The segment holds another type of id"
    SHARED_SEGMENT = "The segment is changed by someone else"
    SEGMENT_SIZE = "The segment would grow too large"
    REJECTIONS = "Too many records were rejected"
    REFUSED = "Statsig refuses what is sent"
    UNPROVEN = "The mirrored stream is not proven complete"
    INCREMENTAL = "The mirrored stream is incremental"
    TOO_MANY_REMOVALS = "The mirror would remove too many"
    LATER = "Statsig takes no more for now"
    DEAD_LETTERS = "The dead letters cannot be written"
    OUTPUT = "The STATE cannot be written"
    REPORT = "The report cannot be written"
    FAULT = "This is a fault of target-statsig"
