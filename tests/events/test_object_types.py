"""All object types from one tap, in one run."""

from __future__ import annotations

import re

from target_statsig.config.choices import ObjectType
from tests.items import ITEM_SAMPLES, item_types
from tests.singer import record, schema, state
from tests.tables import table_row

STREAMS = {
    "events": {"object_type": "event", "environment_tier": "staging"},
    "assignments": {"object_type": "exposure", "experiment_name": "checkout", "environment_tier": "staging"},
    "metrics_*": {"object_type": "metric", "is_test": True},
    "vips": {"object_type": "segment", "segment_id": "vip_users", "sync_mode": "mirror", "row_count_field": "n"},
}

TIME = "2026-11-01T00:00:00Z"
TIME_MS = 1_793_491_200_000

USER = {"userID": "u1", "statsigEnvironment": {"tier": "staging"}}

TAP = [
    schema("events"),
    record("events", {"event": "order", "user_id": "u1", "timestamp": TIME, "price": 5}),
    schema("assignments"),
    record("assignments", {"variant": "x", "group": "Test", "user_id": "u1", "time": TIME}),
    record("assignments", {"group": None, "user_id": "u1", "time": TIME}),
    schema("metrics_daily"),
    record("metrics_daily", {"user_id": "u1", "metric": "net_revenue", "value": 89.99, "day": "2026-11-01"}),
    record("metrics_daily", {"user_id": "c1", "id_type": "companyID", "metric": "basket", "numerator": 3}),
    record(
        "metrics_daily",
        {"user_id": "c1", "id_type": "companyID", "metric": "basket", "numerator": 3, "denominator": 15},
    ),
    schema("vips"),
    *(record("vips", {"user_id": name, "n": 2}) for name in ("u1", "u2")),
    state(events={}, assignments={}, metrics_daily={}, vips={}),
]


def test_one_run_sends_all_object_types(run_target, statsig):
    statsig.state.seed_segment("vip_users", ["u2"])

    done = run_target(TAP, streams=STREAMS)

    assert done.exit_code == 0
    assert done.states == [TAP[-1]["value"]]
    assert statsig.state.events == [
        {"eventName": "order", "time": TIME_MS, "user": USER, "metadata": {"price": "5"}},
    ]
    assert statsig.state.items("exposures") == [
        {"experimentName": "checkout", "group": "Test", "time": TIME_MS, "user": USER},
    ]
    assert statsig.state.items("metrics") == [
        {"user_id": "u1", "id_type": "user_id", "metric_name": "net_revenue", "metric_value": 89.99},
        {"user_id": "c1", "id_type": "companyID", "metric_name": "basket", "numerator": 3, "denominator": 15},
    ]
    assert statsig.state.ids("vip_users") == {"u1", "u2"}

    streams = done.report["streams"]
    assert {name: counts["object_type"] for name, counts in streams.items()} == {
        "events": "event",
        "assignments": "exposure",
        "metrics_daily": "metric",
        "vips": "segment",
    }
    assert {counts["object_type"] for counts in streams.values()} == set(ObjectType)
    assert streams["assignments"]["reasons"] == {"missing_group_or_rule": 1}
    assert streams["metrics_daily"]["reasons"] == {"missing_denominator": 1}
    # Metrics belong to no tier.
    assert [streams[name]["billable"] for name in ("events", "assignments", "metrics_daily")] == [0, 0, 2]
    assert re.search(r"assignments +exposures +2 +1\b", done.log)


def test_a_dry_run_shows_all_object_types(run_target, statsig):
    statsig.state.seed_segment("vip_users", ["u2"])

    done = run_target(TAP, streams=STREAMS, dry_run=True)

    assert done.exit_code == 0
    rows = {name: table_row(done.log, name) for name in ("events", "assignments", "metrics_daily", "vip_users")}
    assert [row.get("becomes") for row in rows.values()] == ["events", "exposures", "metrics", None]
    assert [(row["records"], row["delivered"], row["requests"]) for row in list(rows.values())[:3]] == [
        ("1", "1", "1"),
        ("2", "1", "1"),
        ("3", "2", "1"),
    ]
    assert (rows["vip_users"]["before"], rows["vip_users"]["added"]) == ("1", "1")
    for line in ("assignments: checkout 1", "metrics_daily: net_revenue 1, basket 1"):
        assert line in done.log, line
    assert (statsig.state.items("exposures"), statsig.state.items("metrics")) == ([], [])


@item_types
def test_dead_letters_of_every_object_type_can_be_replayed(items, run_target, statsig):
    statsig.faults.add(when=lambda arrival: b'"u1"' in arrival.body, status=400)
    rows = [record("rows", items.row(number)) for number in range(5)]
    outcome = run_target([schema("rows"), *rows], object_type=items.object_type)
    assert outcome.report["streams"]["rows"]["reasons"] == {"refused_by_statsig": 1}
    assert sorted(items.units(statsig)) == ["u0", "u2", "u3", "u4"]

    statsig.faults.clear()
    assert run_target.replay(object_type=items.object_type).exit_code == 0
    assert sorted(items.units(statsig)) == ["u0", "u1", "u2", "u3", "u4"]


def test_an_object_type_that_is_always_refused_ends_the_run(run_target, statsig):
    """Accepted events do not count for exposures: where all are refused, their mapping is wrong."""
    statsig.faults.add(path="*/log_custom_exposure", status=400)
    events = [record("events", ITEM_SAMPLES[0].row(number)) for number in range(30)]
    exposures = [record("assignments", ITEM_SAMPLES[1].row(number)) for number in range(30)]

    done = run_target([schema("events"), *events, schema("assignments"), *exposures], streams=STREAMS)

    assert done.exit_code == 1
    assert "Statsig refused 20 exposures of stream 'assignments' one by one and took none" in done.log
    assert len(statsig.state.events) == 30
