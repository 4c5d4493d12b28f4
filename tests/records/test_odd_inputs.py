"""Input that taps and their users write although no specification allows it."""

from __future__ import annotations

import json
import socket

import pytest

from target_statsig.emulator.item_log import DeadLetters
from target_statsig.singer.message import DEEPEST
from target_statsig.target import TargetStatsig
from tests.command import CANARY
from tests.singer import record, schema, state

ALSO_IN_A_WORKER = True

EVENT = {"object_type": "event"}
MEMBER = {"object_type": "segment", "segment_id": "vips", "sync_mode": "add"}
TEXT = {"type": ["null", "string"]}
COLUMNS = {"id": {"type": ["null", "integer"]}, "user_id": TEXT, "event": TEXT, "timestamp": TEXT}

MAPPED = [
    pytest.param({}, id="unmapped"),
    pytest.param({"stream_maps": {"orders": {"seen": "user_id"}}}, id="mapped"),
    pytest.param({"flattening_enabled": True, "flattening_max_depth": 3}, id="flattened"),
]
"""No settings, and settings that send records through singer-sdk."""

BECOMES = [pytest.param(EVENT, id="events"), pytest.param(MEMBER, id="members")]

VALIDATED = [pytest.param(True, id="validated"), pytest.param(False, id="not validated")]


@pytest.fixture(autouse=True)
def vips(statsig):
    statsig.state.seed_segment("vips", [])


def order(number, **more):
    return record(
        "orders", {"id": number, "user_id": f"{CANARY}-{number}", "event": "buy", "timestamp": "2026-11-20", **more}
    )


def arrived(statsig):
    """Return the numbers of the users that Statsig has, in an event or as a member."""
    users = [*(event["user"]["userID"] for event in statsig.state.events), *statsig.state.ids("vips")]
    return sorted(int(user.removeprefix(f"{CANARY}-")) for user in users)


def raw_schema(body, key_properties=(), **more):
    return {"type": "SCHEMA", "stream": "orders", "schema": body, "key_properties": key_properties, **more}


# SCHEMA


@pytest.mark.parametrize("settings", MAPPED)
@pytest.mark.parametrize("becomes", BECOMES)
@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        pytest.param({"type": "number", "maximum": 9, "exclusiveMaximum": True}, [8.99], [9], id="draft 4"),
        pytest.param({"items": [{"type": "string"}]}, [["a"], ["a", 1]], [[1]], id="draft 7"),
        pytest.param({"items": [{"maximum": 9, "exclusiveMaximum": True}]}, [[8]], [[9]], id="keywords of both drafts"),
    ],
)
def test_records_are_validated_by_the_draft_that_fits_the_schema(
    run_target, statsig, settings, becomes, column, good, bad
):
    lines = [schema("orders", {**COLUMNS, "odd": column})]
    lines += [order(number, odd=value) for number, value in enumerate([*good, *bad])]
    settings = {**settings, "flattening_enabled": False}  # it makes texts of lists
    outcome = run_target([*lines, state(orders={})], **settings, **becomes)
    assert (outcome.exit_code, arrived(statsig)) == (0, [*range(len(good))])
    assert outcome.report["streams"]["orders"]["reasons"] == {"schema_violation": len(bad)}


@pytest.mark.parametrize("settings", MAPPED)
@pytest.mark.parametrize("becomes", BECOMES)
@pytest.mark.parametrize(
    ("body", "keys"),
    [
        pytest.param({"type": "object"}, ["id"], id="no properties"),
        pytest.param({}, "id", id="nothing"),
        pytest.param({"type": "object", "properties": None}, "id", id="null"),
        pytest.param({"type": "object", "properties": []}, None, id="an empty list, as some languages write it"),
    ],
)
def test_a_schema_can_be_without_columns(run_target, statsig, settings, becomes, body, keys):
    outcome = run_target([raw_schema(body, keys), *map(order, range(3)), state(orders={})], **settings, **becomes)
    assert (outcome.exit_code, arrived(statsig)) == (0, [0, 1, 2])
    assert outcome.states == [{"bookmarks": {"orders": {}}}]


@pytest.mark.parametrize("keys", [pytest.param("id", id="a text"), pytest.param(["id"], id="a list")])
def test_a_record_without_its_key_is_rejected_and_can_be_replayed(run_target, statsig, keys):
    lines = [raw_schema({"type": "object"}, keys), order(0), record("orders", {"user_id": "u", "event": "buy"})]
    outcome = run_target(lines, **EVENT)
    assert (outcome.exit_code, arrived(statsig)) == (0, [0])
    assert outcome.report["streams"]["orders"]["reasons"] == {"missing_key_property": 1}
    assert run_target.dead_letters[0]["key_properties"] == keys
    again = run_target(run_target.dead_letters, **EVENT)
    assert (again.exit_code, again.report["streams"]["orders"]["reasons"]) == (1, {"missing_key_property": 1})


@pytest.mark.parametrize(
    ("message", "words"),
    [
        pytest.param(raw_schema([CANARY]), "is a SCHEMA whose schema is not an object", id="a schema that is a list"),
        pytest.param(
            raw_schema({"properties": CANARY}), "`properties` are not an object", id="properties that are a text"
        ),
        pytest.param(raw_schema({}, {CANARY: 1}), "`key_properties` are not a list", id="keys that are an object"),
        pytest.param(raw_schema({}, [[CANARY]]), "`key_properties` are not a list", id="keys that are no texts"),
    ],
)
def test_an_unusable_schema_is_named_by_its_line(run_target, statsig, message, words):
    outcome = run_target([message, order(1), state(orders={})], **EVENT)
    assert (outcome.exit_code, statsig.state.requests, outcome.states) == (1, [], [])
    assert outcome.errors.startswith("The input cannot be used: Line 1 of the input ")
    assert words in outcome.errors
    assert CANARY not in outcome.errors


# STATE


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("2026-11-20", id="a text"),
        pytest.param(17, id="a number"),
        pytest.param(None, id="null"),
        pytest.param([{"bookmarks": 1}], id="a list"),
        pytest.param({"bookmarks": "orders"}, id="bookmarks that are a text"),
        pytest.param({"bookmarks": {"others": ["id", 3]}, "currently_syncing": 3}, id="a bookmark that is a list"),
    ],
)
@pytest.mark.parametrize(
    "becomes", [EVENT, MEMBER, {**MEMBER, "sync_mode": "mirror"}], ids=["events", "members", "mirrored"]
)
def test_a_state_of_any_form_is_written_unchanged(run_target, statsig, value, becomes):
    lines = [schema("orders", COLUMNS, bookmark_properties=["id"]), order(1)]
    outcome = run_target([*lines, {"type": "STATE", "value": value}], **becomes)
    # A bookmark under another name may hold a position in the mirrored stream, so this STATE is not written.
    passes = not (becomes.get("sync_mode") == "mirror" and isinstance(value, dict) and "currently_syncing" in value)
    assert (outcome.exit_code, arrived(statsig), outcome.states) == (0, [1], [value] if passes else [])


# Odd schemas and values


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"type": "date"}, id="a type of its own"),
        pytest.param({"type": ["null", "date-time"]}, id="one of several"),
        pytest.param({"type": "string", "minLength": -1}, id="a length below zero"),
        pytest.param({"type": "string", "description": "\ud83d"}, id="half a surrogate pair"),
    ],
)
@pytest.mark.parametrize("becomes", BECOMES)
def test_errors_in_a_schema_are_ignored_without_validation(run_target, statsig, becomes, odd):
    described = schema("orders", {**COLUMNS, "odd": odd, "size": {"multipleOf": 0.5}}, ["id"])
    lines = [described, order(1, odd="x"), order(2, user_id=None), state(orders={})]
    outcome = run_target(lines, validate_records=False, **becomes)
    assert (outcome.exit_code, arrived(statsig)) == (0, [1]), outcome.errors
    assert [letter.get("schema") for letter in run_target.dead_letters] == [described["schema"], None]


def test_a_replication_key_of_nan_rejects_only_its_record(run_target, statsig):
    columns = schema("orders", {**COLUMNS, "lsn": {}}, ["id"], bookmark_properties=["lsn"])
    position = state(orders={"replication_key": "lsn", "replication_key_value": 2})
    lines = [columns, order(1, lsn=2), order(2, lsn=float("nan")), position]
    for arrive in ([1], [1, 3]):
        outcome = run_target(lines, **EVENT)
        assert (outcome.exit_code, arrived(statsig)) == (0, arrive), outcome.errors
        assert outcome.report["streams"]["orders"]["reasons"] == {"not_encodable": 1}
        lines = [columns, order(3, lsn=1), order(2, lsn=float("nan")), position]


def test_a_state_with_a_lone_surrogate_is_written_unchanged(run_target):
    odd = {"at": 1.5, "note": "\ud83d"}
    outcome = run_target([schema("orders", COLUMNS, ["id"]), order(1), state(orders=odd)], **EVENT)
    assert (outcome.exit_code, outcome.states[-1]["bookmarks"]["orders"]) == (0, odd), outcome.errors


def test_a_schema_with_a_lone_surrogate_is_an_error(run_target, statsig):
    odd = {"type": "string", "description": "\ud83d"}
    outcome = run_target([schema("orders", {**COLUMNS, "odd": odd}, ["id"]), order(1, odd="x")], **EVENT)
    assert (outcome.exit_code, arrived(statsig)) == (1, [])
    assert "The SCHEMA of stream 'orders' is not a JSON schema that can validate records" in outcome.errors
    assert "`validate_records`" in outcome.errors


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"type": "string", "maxLength": 10**30}, id="a length"),
        pytest.param({"type": ["null", "string", "integer"], "maximum": 10**30}, id="a number"),
    ],
)
def test_a_bound_beyond_all_values_is_ignored(run_target, statsig, odd):
    lines = [schema("orders", {**COLUMNS, "odd": odd}, ["id"]), order(1, odd="x"), order(2, odd=[]), state(orders={})]
    outcome = run_target(lines, **EVENT)
    assert (outcome.exit_code, arrived(statsig)) == (0, [1]), outcome.errors
    assert outcome.report["streams"]["orders"]["reasons"] == {"schema_violation": 1}


# Stream maps


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        pytest.param({"x": "no_such"}, "simpleeval expressions no_such.", id="an unknown column"),
        pytest.param({"x": "record['no_such']"}, "expressions record['no_such'] (KeyError).", id="a missing member"),
        pytest.param({"x": "int(user_id)"}, "expressions int(user_id) (ValueError).", id="a value that does not fit"),
        pytest.param({"x": "user_id + 1"}, "expressions user_id + 1 (TypeError).", id="a type that does not fit"),
        pytest.param({"__filter__": "no_such"}, "simpleeval expressions no_such.", id="an unknown column in a filter"),
        pytest.param({"__filter__": "record["}, "Failed to parse expression record[.", id="the syntax of a filter"),
        pytest.param({"x": "y = user_id"}, "in map expression 'y = user_id'.", id="no expression"),
        pytest.param({"x": ""}, "singer-sdk cannot read it (IndexError).", id="nothing"),
        pytest.param({"id": None}, "Removing key property 'id' is not permitted", id="a key that is dropped"),
        pytest.param({"__else__": "drop"}, "Option '__else__=drop' is not supported.", id="`__else__`"),
        pytest.param({"__alias__": "a b"}, "Failed to evaluate simpleeval expressions a b.", id="an alias"),
        pytest.param({"__key_properties__": ["x"]}, "Property 'x' was not detected in schema.", id="an unknown key"),
    ],
)
def test_a_wrong_stream_map_is_a_configuration_error(run_target, statsig, definition, words):
    lines = [schema("orders", COLUMNS, ["id"]), order(1), state(orders={})]
    outcome = run_target(lines, stream_maps={"orders": definition}, **EVENT)
    assert (outcome.exit_code, statsig.state.events, outcome.states) == (1, [], [])
    assert outcome.errors.startswith("The configuration cannot be used: ")
    assert words in outcome.errors
    assert "Correct `stream_maps`" in outcome.errors
    assert CANARY not in outcome.errors


# Nesting


NESTED = {**COLUMNS, "odd": {"type": ["array", "object", "null"]}, "after": TEXT}


def nested(levels, kind):
    """Return the JSON of lists, or objects, in each other."""
    opening, closing = {"lists": ("[", "]"), "objects": ('{"a": ', "}")}[kind]
    return opening * levels + "1" + closing * levels


def deep_order(number, levels, kind):
    line = json.dumps(order(number, odd="HERE", after='"}]')).replace('"HERE"', nested(levels, kind))
    return line.encode() + b"\n"


def test_deep_nesting_with_added_metadata_rejects_only_its_record(run_target, statsig):
    lines = [schema("orders", NESTED, ["id"]), order(0), deep_order(1, 100_000, "lists"), order(2)]
    outcome = run_target(lines, add_record_metadata=True, **EVENT)
    assert (outcome.exit_code, arrived(statsig)) == (0, [0, 2]), outcome.errors
    assert outcome.report["streams"]["orders"]["reasons"] == {"nested_too_deeply": 1}


DEPTHS = [
    (DEEPEST + 2, "lists"),
    (600, "objects"),
    (980, "lists"),
    (990, "objects"),
    (20_000, "lists"),
    (10_000, "objects"),
]


@pytest.mark.parametrize("validated", VALIDATED)
@pytest.mark.parametrize("settings", MAPPED)
@pytest.mark.parametrize("becomes", BECOMES)
def test_deep_nesting_rejects_only_its_record(run_target, statsig, validated, settings, becomes):
    lines = [schema("orders", NESTED, ["id"])]
    for number, (levels, kind) in enumerate(DEPTHS, start=1):
        lines += [order(-number), deep_order(number, levels, kind)]
    outcome = run_target([*lines, state(orders={})], validate_records=validated, **settings, **becomes)
    counts = outcome.report["streams"]["orders"]
    assert (outcome.exit_code, outcome.states) == (0, [{"bookmarks": {"orders": {}}}])
    assert counts["records"] == 2 * len(DEPTHS)
    letters = "".join(path.read_text() for path in (run_target.directory / "dead").glob("*.singer")).replace(" ", "")
    rejected = [
        number
        for number, (levels, kind) in enumerate(DEPTHS, start=1)
        if f'{nested(levels, kind)},"after"'.replace(" ", "") in letters
    ]
    # A record is sent if nothing has to read its nested value.
    everyone = {*range(-len(DEPTHS), len(DEPTHS) + 1)} - {0}
    assert arrived(statsig) == sorted(everyone.difference(rejected))
    assert counts["reasons"] == ({"nested_too_deeply": len(rejected)} if rejected else {})


@pytest.mark.parametrize("levels", [DEEPEST + 2, 985, 100_000])
def test_a_dead_letter_of_any_depth_can_be_replayed(run_target, statsig, levels):
    run_target([schema("orders", COLUMNS), deep_order(1, levels, "lists"), order(2)], **EVENT)
    config = run_target.config(max_rejected_percent=100, **EVENT)
    assert TargetStatsig(config=config).replay() == 0
    (letters,) = (run_target.directory / "dead").glob("*.singer")
    assert nested(levels, "lists") in letters.read_text()
    tallies = DeadLetters(run_target.directory / "dead").tallies()
    assert {reason: tally.count for reason, tally in tallies.items()} == {"nested_too_deeply": 1}
    assert arrived(statsig) == [2]


@pytest.mark.parametrize("kind", ["lists", "objects"])
@pytest.mark.parametrize("settings", MAPPED)
def test_nesting_up_to_the_limit_is_sent(run_target, statsig, settings, kind):
    lines = [schema("orders", NESTED, ["id"]), order(0), deep_order(1, DEEPEST, kind), order(2)]
    outcome = run_target(lines, **settings, **EVENT)
    assert (outcome.exit_code, arrived(statsig)) == (0, [0, 1, 2])


@pytest.mark.parametrize("levels", [DEEPEST + 2, 990, 100_000])
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(raw_schema({"properties": {"a": "HERE"}}), id="SCHEMA"),
        pytest.param({"type": "STATE", "value": {"bookmarks": "HERE"}}, id="STATE"),
        pytest.param({"more": "HERE", **order(1)}, id="a RECORD before its record"),
    ],
)
def test_deep_nesting_around_a_record_is_an_error_of_its_line(run_target, statsig, levels, message):
    line = json.dumps(message).replace('"HERE"', nested(levels, "lists")).encode() + b"\n"
    outcome = run_target([schema("orders", COLUMNS), order(0), line, order(1)], **EVENT)
    if outcome.exit_code == 0:
        assert message["type"] != "SCHEMA"
        assert levels < 1_000
    else:
        assert outcome.errors.startswith("The input cannot be used: Line 3 of the input ")
        assert "nested too deeply" in outcome.errors
        assert outcome.states == []


# Addresses


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({**MEMBER}, id="added"),
        pytest.param({**MEMBER, "sync_mode": "mirror"}, id="mirrored"),
        pytest.param({**MEMBER, "create_segment": True}, id="created where it is missing"),
    ],
)
@pytest.mark.parametrize("path", ["", "/", "/console"])
def test_a_console_url_without_its_path_is_no_missing_segment(run_target, statsig, settings, path):
    url = statsig.console_url.removesuffix("/console/v1") + path
    outcome = run_target([schema("orders", COLUMNS), order(1), state(orders={})], console_url=url, **settings)
    assert (outcome.exit_code, arrived(statsig)) == (1, [])
    assert outcome.errors.startswith("The configuration cannot be used: Segment 'vips' could not be ")
    assert "`console_url` is not the address of the Console API" in outcome.errors
    assert "does not exist" not in outcome.log


@pytest.fixture
def no_host_resolves(monkeypatch, waits_take_no_time):
    """Let no host name resolve."""

    def find(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", find)


@pytest.mark.usefixtures("no_host_resolves")
@pytest.mark.parametrize(
    ("becomes", "setting"),
    [
        pytest.param(EVENT, "events_url", id="events"),
        pytest.param(MEMBER, "console_url", id="added"),
        pytest.param({**MEMBER, "sync_mode": "mirror"}, "console_url", id="mirrored"),
    ],
)
def test_a_host_that_does_not_resolve_is_named_with_its_setting(run_target, becomes, setting):
    lines = [schema("orders", COLUMNS), order(1), state(orders={})]
    outcome = run_target(lines, retry_timeout=600, **{setting: "http://statsig.invalid/v1"}, **becomes)
    assert outcome.exit_code == 1
    warnings = [line for line in outcome.log.splitlines() if "o answer came" in line]
    assert f"from statsig.invalid, the host of `{setting}` (" in warnings[0]
    assert "Name or service not known" in warnings[0]
    assert outcome.errors.startswith("Statsig cannot be reached: ")
    assert f"statsig.invalid, the host of `{setting}` " in outcome.errors
