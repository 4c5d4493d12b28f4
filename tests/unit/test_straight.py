"""The straight way follows one release of singer-sdk; here it is told when that moves."""

from __future__ import annotations

import hashlib
import inspect

from singer_sdk import Sink, Target

FOLLOWED = {
    Target._process_record_message: "08aaf4096e2d39e7",
    Sink._remove_sdc_metadata_from_record: "7cd9e5fb192f13ec",
}


def fingerprint(function):
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]


def test_singer_sdk_still_does_what_the_straight_way_follows():
    moved = {
        function.__qualname__: fingerprint(function)
        for function in FOLLOWED
        if fingerprint(function) != FOLLOWED[function]
    }
    assert moved == {}, (
        "singer-sdk has changed what target_statsig/straight.py follows: read its new source, follow it or delete the "
        "straight way, then put these fingerprints here"
    )
