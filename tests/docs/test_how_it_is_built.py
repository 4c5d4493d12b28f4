"""The page on how the target is built names what there is."""

from __future__ import annotations

import re
import tomllib

from tests.documents import blocks
from tests.tools.plugin_definition import ROOT

PACKAGE = ROOT / "target_statsig"
PAGE = ROOT / "docs" / "how-it-is-built.md"


def test_every_module_is_named_once_in_the_room_where_it_is():
    tree, *_ = blocks(PAGE)
    named, room = [], ""
    for line in tree.text.splitlines()[1:]:
        if found := re.fullmatch(r"  (\w+)/", line):
            room = f"{found[1]}/"
        elif found := re.match(r"(?P<indent> +)(?P<module>\w+\.py) ", line):
            named.append(f"{room if len(found['indent']) > 2 else ''}{found['module']}")
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    assert set(named) == modules
    assert len(named) == len(modules)


def test_the_layers_are_those_of_the_import_contract():
    _, layers = blocks(PAGE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert layers.text.splitlines() == [layer.replace("target_statsig.", "") for layer in contracts[0]["layers"]]
