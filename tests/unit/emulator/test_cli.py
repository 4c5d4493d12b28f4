"""The command line's arguments."""

from __future__ import annotations

import pytest

from target_statsig.emulator.cli import SegmentSeed, parse
from target_statsig.emulator.faults import Fault


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        pytest.param([], (), id="none"),
        pytest.param(["meltano", "run", "--force"], ("meltano", "run", "--force"), id="with-its-own-options"),
        pytest.param(["--", "meltano", "run"], ("meltano", "run"), id="after-dashes"),
        pytest.param(["--keep", "--", "--odd"], ("--odd",), id="that-looks-like-an-option"),
        pytest.param(["sh", "-c", "x", "--", "y"], ("sh", "-c", "x", "--", "y"), id="with-its-own-dashes"),
        pytest.param(["echo", "--keep"], ("echo", "--keep"), id="with-one-of-ours"),
    ],
)
def test_the_command_is_what_follows_the_options(argv, command):
    assert parse(argv).command == command


@pytest.mark.parametrize(
    ("text", "seed"),
    [
        pytest.param("vip_users", SegmentSeed("vip_users", "userID", ()), id="empty"),
        pytest.param("vip_users:stableID", SegmentSeed("vip_users", "stableID", ()), id="id-type"),
        pytest.param("vip_users={file}", SegmentSeed("vip_users", "userID", ("a", "b")), id="file"),
        pytest.param("b:companyID={file}", SegmentSeed("b", "companyID", ("a", "b")), id="both"),
    ],
)
def test_a_segment_is_seeded_by_id_type_and_file(tmp_path, text, seed):
    file = tmp_path / "ids.txt"
    file.write_text(" a \n\nb\n", encoding="utf-8")

    assert parse(["--segment", text.format(file=file)]).segments == (seed,)


def test_options_may_be_repeated_and_joined(tmp_path):
    faults = tmp_path / "faults.json"
    faults.write_text('{"status": 503, "times": 2}', encoding="utf-8")

    found = parse(["--segment", "a", "--segment=b", "--faults", str(faults), "--port=8080", "--json", "out", "x"])

    assert [seed.id for seed in found.segments] == ["a", "b"]
    assert found.faults == (Fault(status=503, times=2),)
    assert (found.port, str(found.json), found.command) == (8080, "out", ("x",))


@pytest.mark.parametrize(
    ("argv", "kept"),
    [
        pytest.param(["cmd"], "samples", id="nobody-will-look"),
        pytest.param([], "all", id="serving"),
        pytest.param(["--keep", "cmd"], "all", id="keeping"),
        pytest.param(["--json=f", "cmd"], "all", id="writing"),
        pytest.param(["--keep-events=counts", "--keep"], "counts", id="as-asked-for"),
    ],
)
def test_all_events_are_kept_only_where_they_can_be_looked_at(argv, kept):
    assert parse(argv).keep_events == kept


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        pytest.param(["--segment", "=f"], "is not ID[:ID_TYPE][=FILE]", id="no-id"),
        pytest.param(["--segment", "a="], "is not ID[:ID_TYPE][=FILE]", id="no-file"),
        pytest.param(["--segment", "a:"], "is not ID[:ID_TYPE][=FILE]", id="no-id-type"),
        pytest.param(["--segment", "a=/no/such/file"], "cannot read /no/such/file", id="unreadable"),
        pytest.param(["--faults", "{file}"], "unknown field `stat`", id="no-fault"),
        pytest.param(["--seg", "a"], "unrecognized arguments", id="abbreviated"),
    ],
)
def test_a_mistake_is_named(tmp_path, capsys, argv, words):
    file = tmp_path / "faults.json"
    file.write_text('{"stat": 503}', encoding="utf-8")

    with pytest.raises(SystemExit):
        parse([argument.format(file=file) for argument in argv])

    assert words in capsys.readouterr().err


def test_the_help_has_examples(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"])

    help_text = capsys.readouterr().out
    assert "statsig-emulator meltano run" in help_text
    assert "--config ENV" in help_text
