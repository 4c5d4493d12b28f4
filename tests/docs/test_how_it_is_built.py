"""The page "How it is built" lists the modules and layers of the code."""

from __future__ import annotations

import re
import tomllib

from tests.documents import blocks
from tests.tools.plugin_definition import ROOT

PACKAGE = ROOT / "target_statsig"
PAGE = ROOT / "docs" / "how-it-is-built.md"


def test_every_module_is_listed_once_in_its_folder():
    tree, *_ = blocks(PAGE)
    named, folder = [], ""
    for line in tree.text.splitlines()[1:]:
        if found := re.fullmatch(r"  (\w+)/", line):
            folder = f"{found[1]}/"
        elif found := re.match(r"(?P<indent> +)(?P<module>\w+\.py) ", line):
            named.append(f"{folder if len(found['indent']) > 2 else ''}{found['module']}")
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    assert set(named) == modules
    assert len(named) == len(modules)


def test_the_layers_are_those_of_the_import_contract():
    _, layers = blocks(PAGE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert layers.text.splitlines() == [layer.replace("target_statsig.", "") for layer in contracts[0]["layers"]]
