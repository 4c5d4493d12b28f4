"""The options of `statsig-emulator`."""

from __future__ import annotations

import click
import pytest

from target_statsig.emulator.__main__ import main
from target_statsig.emulator.faults import Fault
from target_statsig.emulator.state import Segment


def parse(*argv):
    return main.make_context("statsig-emulator", [*argv]).params


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        pytest.param([], (), id="none"),
        pytest.param(["meltano", "run", "--force"], ("meltano", "run", "--force"), id="with-its-own-options"),
        pytest.param(["--", "meltano", "run"], ("meltano", "run"), id="after-dashes"),
        pytest.param(["--keep", "--", "--odd"], ("--odd",), id="like-an-option"),
        pytest.param(["sh", "-c", "x", "--", "y"], ("sh", "-c", "x", "--", "y"), id="with-its-own-dashes"),
        pytest.param(["echo", "--keep"], ("echo", "--keep"), id="with-an-option-of-the-emulator"),
    ],
)
def test_the_command_follows_the_options(argv, command):
    assert parse(*argv)["command"] == command


@pytest.mark.parametrize(
    ("text", "seed"),
    [
        pytest.param("vip_users", Segment("vip_users"), id="empty"),
        pytest.param("vip_users:stableID", Segment("vip_users", id_type="stableID"), id="id-type"),
        pytest.param("vip_users={file}", Segment("vip_users", ids={"a", "b"}), id="file"),
        pytest.param("b:companyID={file}", Segment("b", ids={"a", "b"}, id_type="companyID"), id="both"),
    ],
)
def test_a_segment_is_seeded_by_id_type_and_file(tmp_path, text, seed):
    file = tmp_path / "ids.txt"
    file.write_text(" a \n\nb\n", encoding="utf-8")

    assert parse("--segment", text.format(file=file))["segments"] == (seed,)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"path": "/v1/*", "status": 503}', id="one"),
        pytest.param('[{"path": "/v1/*", "status": 503}]', id="a-list"),
    ],
)
def test_faults_are_read_from_json(tmp_path, text):
    file = tmp_path / "faults.json"
    file.write_text(text, encoding="utf-8")

    assert parse("--faults", str(file))["faults"] == [Fault(path="/v1/*", status=503)]


@pytest.mark.parametrize("text", ["", '{"stat": 503}', '{"status": "503"}', "3"])
def test_an_invalid_fault_is_an_error(tmp_path, text):
    file = tmp_path / "faults.json"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(click.BadParameter):
        parse("--faults", str(file))


def test_options_may_be_repeated(tmp_path):
    faults = tmp_path / "faults.json"
    faults.write_text('{"status": 503, "times": 2}', encoding="utf-8")

    out = str(tmp_path / "out.json")
    found = parse("--segment", "a", "--segment=b", "--faults", str(faults), "--port=8080", "--json", out, "x")
    found["output"].close()

    assert [seed.id for seed in found["segments"]] == ["a", "b"]
    assert found["faults"] == [Fault(status=503, times=2)]
    assert (found["port"], found["output"].name, found["command"]) == (8080, out, ("x",))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--segment", "=f"], "is not ID[:ID_TYPE][=FILE]", id="no-id"),
        pytest.param(["--segment", "a="], "is not ID[:ID_TYPE][=FILE]", id="no-file"),
        pytest.param(["--segment", "a:"], "is not ID[:ID_TYPE][=FILE]", id="no-id-type"),
        pytest.param(["--segment", "a=/no/such/file"], "cannot read /no/such/file", id="unreadable"),
        pytest.param(["--segment", "a={binary}"], "is not UTF-8", id="not-utf-8"),
        pytest.param(["--faults", "{file}"], "unknown field `stat`", id="invalid-fault"),
        pytest.param(["--port", "65536"], "65536 is not in the range", id="invalid-port"),
        pytest.param(["--seg", "a"], "No such option", id="abbreviated"),
    ],
)
def test_an_invalid_option_is_named(tmp_path, argv, message):
    file, binary = tmp_path / "faults.json", tmp_path / "ids"
    file.write_text('{"stat": 503}', encoding="utf-8")
    binary.write_bytes(b"\xff")

    with pytest.raises(click.UsageError) as found:
        parse(*(argument.format(file=file, binary=binary) for argument in argv))

    assert message in found.value.format_message()


def test_the_help_has_examples(capsys):
    with pytest.raises(click.exceptions.Exit):
        parse("--help")

    help_text = capsys.readouterr().out
    assert "\n      statsig-emulator meltano run" in help_text
    assert "--config ENV" in help_text
    assert "members method, path, event," in " ".join(help_text.split())
