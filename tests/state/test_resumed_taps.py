"""Which members a mirror may remove when a tap resumes a full table where it died, with STATEs at any cadence."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.command import PATIENCE, environment
from tests.tools.plugin_definition import ROOT

pytestmark = pytest.mark.e2e

ROWS = 1_200
LEFT = 100
USER_ID = "member-{}"
TABLE = frozenset(USER_ID.format(number) for number in range(ROWS))
STRANGERS = frozenset(f"stranger-{number}" for number in range(50))
GONE = frozenset(USER_ID.format(number) for number in range(LEFT))

MIRROR = {"object_type": "segment", "segment_id": "members", "sync_mode": "mirror"}


@pytest.fixture
def night(command, statsig, tmp_path):
    """Run the tap and then the target, and return the outcome and the last STATE that the tap wrote."""
    statsig.state.seed_segment("members", TABLE | STRANGERS)

    def run(state=None, *, settings, **config):
        (tmp_path / "tap.json").write_text(json.dumps({"rows": ROWS, "user_id": USER_ID, **config}))
        tap = [sys.executable, "-m", "tests.taps.resuming_tap", "--config", "tap.json"]
        if state is not None:
            (tmp_path / "state.json").write_text(json.dumps(state))
            tap += ["--state", "state.json"]
        path = environment(PYTHONPATH=str(ROOT))
        written = subprocess.run(tap, env=path, capture_output=True, timeout=PATIENCE, check=False).stdout
        # As in a pipe, nothing tells the target how the tap ended.
        done = command([written], streams={"members": MIRROR | settings})
        assert done.exit_code == 0, done.log
        messages = [json.loads(line) for line in written.splitlines()]
        assert messages[-1]["type"] == "ACTIVATE_VERSION" or "last_row" in config or not config["activates"]
        states = [message["value"] for message in messages if message["type"] == "STATE"]
        return done, states[-1] if states else None

    return run


def segment_of(done):
    return done.report["streams"]["members"]["segments"]["members"]


CADENCES = [
    pytest.param({"state_every": 1_000}, 1_000, id="every 1,000"),
    pytest.param({"state_every": 100}, 600, id="every 100"),
    pytest.param({"state_every": 10}, 300, id="every 10"),
    pytest.param({"pages": True}, 500, id="after each page"),
]

ACTIVATED = (True, {}, "activate_version")
COUNTED = (False, {"row_count_field": "row_count"}, "row_count")
UNPROVEN = (False, {}, "none")


@pytest.mark.parametrize(("config", "at"), CADENCES)
@pytest.mark.parametrize(
    ("dies", "proving"),
    [
        pytest.param(lambda at: at, ACTIVATED, id="right after a STATE"),
        pytest.param(lambda at: at + 7, ACTIVATED, id="later", marks=pytest.mark.slow),
        pytest.param(lambda at: ROWS - 1, ACTIVATED, id="before the last row", marks=pytest.mark.slow),
        pytest.param(lambda at: at, COUNTED, id="with a row count", marks=pytest.mark.slow),
        pytest.param(lambda at: at, UNPROVEN, id="with no proof", marks=pytest.mark.slow),
    ],
)
def test_the_next_night_begins_afresh_with_the_written_state(night, statsig, removed, config, at, dies, proving):
    activates, settings, proof = proving
    last_row = dies(at)
    done, tap_state = night(settings=settings, activates=activates, last_row=last_row, **config)
    assert (removed, segment_of(done)["held"]) == (set(), len(STRANGERS) + ROWS - last_row)
    assert {"last_pk_fetched", "page"} & tap_state["bookmarks"]["members"].keys()

    # As many others have joined as left.
    done, _ = night(done.states[-1], settings=settings, activates=activates, left=LEFT, **config)
    now = {USER_ID.format(number) for number in range(LEFT, ROWS + LEFT)}
    assert segment_of(done)["proof"] == proof
    if proof == "none":
        assert (removed, segment_of(done)["held"]) == (set(), len(STRANGERS | GONE))
    else:
        assert removed == STRANGERS | GONE
        assert statsig.state.ids("members") == now


@pytest.mark.parametrize(("config", "at"), CADENCES)
@pytest.mark.parametrize(
    "proving",
    [pytest.param(ACTIVATED, id="to its end"), pytest.param(COUNTED, id="and counts rows", marks=pytest.mark.slow)],
)
def test_a_tap_that_resumes_anyway_removes_nobody(night, statsig, removed, config, at, proving):
    activates, settings, _ = proving
    _, tap_state = night(settings=settings, activates=activates, last_row=at + 7, **config)
    done, _ = night(tap_state, settings=settings, activates=activates, **config)
    assert segment_of(done)["proof"] == "none"
    assert removed == set()
    assert statsig.state.ids("members") == TABLE | STRANGERS
