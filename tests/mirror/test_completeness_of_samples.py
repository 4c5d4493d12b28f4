"""Streams as real taps wrote them, replayed whole and cut off."""

from __future__ import annotations

import pytest

from target_statsig.segments.completeness import Proof, Sign, assess
from target_statsig.segments.observer import bookmarks_of, signs_of
from tests.mirror.wire import SAMPLES, observe, sample


@pytest.mark.parametrize(
    ("name", "stream", "proof", "sign"),
    [
        pytest.param("jsonl-forced-full-table", "orders", Proof.NONE, None, id="jsonl: partitions"),
        pytest.param("postgres-full-table-view", "public-audience_pro", Proof.NONE, None, id="view: full table"),
        pytest.param("postgres-incremental", "public-shop_orders", Proof.NONE, Sign.INCREMENTAL, id="incremental"),
        pytest.param("postgres-log-based", "public-shop_users", Proof.NONE, Sign.INCREMENTAL, id="log-based"),
        pytest.param("postgres-three-streams", "public-audience_pro", Proof.NONE, None, id="three: first"),
        pytest.param(
            "postgres-three-streams", "public-shop_orders", Proof.NONE, Sign.INCREMENTAL, id="three: incremental"
        ),
        pytest.param("postgres-three-streams", "public-shop_users", Proof.NONE, None, id="three: last"),
    ],
)
def test_a_real_stream_has_the_expected_verdict(name, stream, proof, sign):
    verdict = assess(observe(sample(f"{name}.singer")).seen(stream))

    assert (verdict.proof, verdict.sign) == (proof, sign)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.singer")), ids=lambda path: path.stem)
def test_a_real_stream_is_never_proven_before_its_last_record(path):
    messages = sample(path.name)
    streams = {message["stream"] for message in messages if message["type"] == "SCHEMA"}
    total = {
        stream: sum(message["type"] == "RECORD" and message["stream"] == stream for message in messages)
        for stream in streams
    }

    for end in range(len(messages)):
        observer = observe(messages[:end])
        for stream in streams:
            seen = observer.seen(stream)
            assert assess(seen).proof is Proof.NONE or seen.records == total[stream]


def incremental(value):
    return {stream for stream, content in bookmarks_of(value).items() if Sign.INCREMENTAL in signs_of(content)}


@pytest.mark.parametrize(
    ("name", "first", "streams"),
    [
        pytest.param("jsonl-forced-full-table", None, set(), id="jsonl: bookmark properties are only a hint"),
        pytest.param("postgres-full-table-view", None, set(), id="view"),
        pytest.param("postgres-incremental", 21, {"public-shop_orders"}, id="incremental"),
        pytest.param("postgres-log-based", 0, {"public-shop_users"}, id="log-based: in the echoed start state"),
        pytest.param("postgres-three-streams", 26, {"public-shop_orders"}, id="three: the second"),
    ],
)
def test_an_incremental_stream_first_shows_in_a_known_state(name, first, streams):
    messages = sample(f"{name}.singer")
    showing = [
        index for index, message in enumerate(messages) if message["type"] == "STATE" and incremental(message["value"])
    ]

    assert (showing[0] if showing else None) == first
    assert showing == [] or incremental(messages[showing[0]]["value"]) == streams
