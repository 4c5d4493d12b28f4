"""A tap that resumes an interrupted full table, on a real PostgreSQL, mirrored in nightly runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.command import PATIENCE, environment

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TAP = "pipelinewise-tap-postgres==2.1.0"
ITS_DRIVER = "psycopg2-binary==2.9.13"  # the tap's own release has no wheels from Python 3.12 on

MEMBERS, ORDERS = "public-members", "public-orders"

STREAMS = {
    MEMBERS: {"object_type": "segment", "segment_id": "members", "sync_mode": "mirror"},
    ORDERS: {"object_type": "event", "event_name": "Order"},
}

METHODS = {
    MEMBERS: {"selected": True, "replication-method": "FULL_TABLE"},
    ORDERS: {"selected": True, "replication-method": "INCREMENTAL", "replication-key": "id"},
}


@pytest.fixture(scope="module")
def tap(tmp_path_factory):
    """The tap's program, in its own environment."""
    folder = tmp_path_factory.mktemp("tap")
    uv = str(Path(sys.executable).parent / "uv")
    overrides = folder.with_name("overrides.txt")
    overrides.write_text(ITS_DRIVER)
    for command in (
        [uv, "venv", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--python", str(folder / "bin" / "python"), "--overrides", str(overrides), TAP],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "bin" / "tap-postgres"


class Database:
    """Tables that change; each hundred members have their own transaction, by which the tap resumes."""

    def __init__(self, connection):
        self._connection = connection
        connection.execute("CREATE TABLE members (user_id text PRIMARY KEY, seen int)")
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, user_id text)")

    @property
    def members(self):
        return {row[0] for row in self._connection.execute("SELECT user_id FROM members")}

    def join(self, first, last):
        for start in range(first, last, 100):
            self._connection.execute(
                "INSERT INTO members SELECT 'u' || n, 0 FROM generate_series(%s::int, %s::int) n", (start, start + 99)
            )

    def leave(self, first, last):
        self._connection.execute(
            "DELETE FROM members WHERE substr(user_id, 2)::int >= %s AND substr(user_id, 2)::int < %s", (first, last)
        )

    def change(self, first, last):
        self._connection.execute(
            "UPDATE members SET seen = seen + 1 WHERE substr(user_id, 2)::int >= %s AND substr(user_id, 2)::int < %s",
            (first, last),
        )

    def order(self, number):
        self._connection.execute("INSERT INTO orders VALUES (%s, 'u1')", (number,))


@pytest.fixture
def database(connection):
    return Database(connection)


@pytest.fixture
def tap_line(tap, connection, database, tmp_path):
    """The tap's command line, with its catalog, in which both tables are selected."""
    info = connection.info
    config = {"host": info.host, "port": info.port, "user": info.user, "password": info.password, "dbname": info.dbname}
    (tmp_path / "tap.json").write_text(json.dumps(config))
    line = [str(tap), "--config", str(tmp_path / "tap.json")]
    found = subprocess.run([*line, "--discover"], env=environment(), capture_output=True, timeout=PATIENCE, check=True)
    catalog = json.loads(found.stdout)
    for stream in catalog["streams"]:
        whole = next(entry for entry in stream["metadata"] if not entry["breadcrumb"])
        whole["metadata"].update(METHODS[stream["tap_stream_id"]])
    (tmp_path / "catalog.json").write_text(json.dumps(catalog))
    return [*line, "--catalog", str(tmp_path / "catalog.json")]


class Nights:
    """Runs the tap into the target, with the STATE of the night before."""

    def __init__(self, tap_line, command, *, state_of_the_tap):
        self._tap_line = tap_line
        self._command = command
        self._state_path = command.directory / "state.json"
        self._state_of_the_tap = state_of_the_tap
        self._log = (command.directory / "tap.log").open("w")

    @property
    def state(self):
        return json.loads(self._state_path.read_text())

    def __call__(self, *, dies_at_state=None):
        """Run once; the tap is killed after so many STATEs with a position in the members."""
        state = ["--state", str(self._state_path)] if self._state_path.exists() else []
        tap = subprocess.Popen([*self._tap_line, *state], env=environment(), stdout=subprocess.PIPE, stderr=self._log)
        target = self._command.start_with(streams=STREAMS)
        places, last = 0, None
        for line in tap.stdout:
            target.write([line])
            message = json.loads(line)
            if message["type"] == "STATE":
                last = message["value"]
                places += last["bookmarks"][MEMBERS].get("xmin") is not None
                if places == dies_at_state:
                    tap.kill()
        target.end_input()
        finished = target.finish()
        assert (tap.wait(PATIENCE) == 0) is (dies_at_state is None)
        tap.stdout.close()
        assert finished.exit_code == 0
        written = last if self._state_of_the_tap else finished.states[-1]
        self._state_path.write_text(json.dumps(written))
        return finished.report["streams"][MEMBERS]["segments"]["members"]

    def close(self):
        self._log.close()


@pytest.fixture
def nights(tap_line, command, request):
    nights = Nights(tap_line, command, state_of_the_tap=request.param)
    yield nights
    nights.close()


@pytest.mark.parametrize(
    ("nights", "dies_at_state", "proof_of_the_fourth"),
    [
        pytest.param(False, 1, "activate_version", id="as Meltano does, early"),
        pytest.param(False, 2, "activate_version", id="as Meltano does, late"),
        pytest.param(True, 2, "none", id="with a state that was kept elsewhere"),
    ],
    indirect=["nights"],
)
def test_a_tap_killed_in_the_third_of_five_nights_removes_no_member(
    nights, database, statsig, removed, dies_at_state, proof_of_the_fourth
):
    database.join(0, 3500)
    database.order(1)
    statsig.state.seed_segment("members", [*database.members, *(f"stranger-{number}" for number in range(50))])
    assert nights()["proof"] == "activate_version"
    assert statsig.state.ids("members") == database.members

    database.leave(0, 100)
    database.join(3500, 3600)
    database.change(300, 500)
    database.order(2)
    removed.clear()
    assert nights()["proof"] == "activate_version"
    assert removed == {f"u{number}" for number in range(100)}
    assert statsig.state.ids("members") == database.members

    second = database.members
    database.leave(100, 200)
    database.join(3600, 3700)
    database.order(3)
    removed.clear()
    segment = nights(dies_at_state=dies_at_state)
    assert (removed, segment["proof"]) == (set(), "none")
    assert second <= statsig.state.ids("members")
    assert (MEMBERS in nights.state["bookmarks"]) is (proof_of_the_fourth == "none")

    database.leave(200, 250)
    database.change(2000, 2100)
    assert nights()["proof"] == proof_of_the_fourth
    gone = {f"u{number}" for number in range(100, 250)}
    assert removed == (set() if proof_of_the_fourth == "none" else gone)
    assert database.members <= statsig.state.ids("members")

    database.order(4)
    assert nights()["proof"] == "activate_version"
    assert removed == gone
    assert statsig.state.ids("members") == database.members
    assert Counter(event["metadata"]["id"] for event in statsig.state.events) == Counter("1234")
