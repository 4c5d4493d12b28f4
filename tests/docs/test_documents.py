"""The pages of the documentation: navigation, links, files and commands."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
import yaml

from tests.documents import Block, blocks, headings
from tests.tools.plugin_definition import ROOT

README = ROOT / "README.md"
PAGES = [README, ROOT / "sample_data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

LINK = re.compile(r'\]\((?P<link>[^)\s]+)\)|(?:src|srcset)="(?P<picture>[^"]+)"')

PAGE = """\
# A page

Save this as `shop.sql`:

```sql
select 1;
```

## Run it

```console
$ psql -f shop.sql      # as yourself
 one
$ cat a \\
    | b
# no command
```

```
not a command: $ rm
```
"""


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_files_and_commands_are_found_under_their_headings(page):
    script, console, shown = blocks(page)
    assert script == Block("A page", "sql", "shop.sql", "select 1;\n")
    assert (console.heading, console.file) == ("Run it", None)
    assert console.commands == ["psql -f shop.sql", "cat a \\\n    | b"]
    assert shown.commands == []


def test_a_comment_in_a_code_block_is_no_heading(page):
    assert headings(page) == ["A page", "Run it"]


def test_the_readme_has_at_most_250_lines():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250


def test_every_page_is_in_the_site_s_navigation():
    site = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8"))
    named = [page for group in site["project"]["nav"] for pages in group.values() for page in _pages_of(pages)]
    assert sorted(named) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def _pages_of(entry):
    """Return the files below an entry of the navigation."""
    if isinstance(entry, str):
        return [entry]
    return [page for group in entry for pages in group.values() for page in _pages_of(pages)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_has_a_target(page):
    for found in LINK.finditer(page.read_text(encoding="utf-8")):
        link = found["link"] or found["picture"]
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in {_anchor(heading) for heading in headings(target)}, link


def test_the_body_of_mark_data_ready_is_valid_json():
    """No test sends it, since it cannot be undone."""
    (call,) = [block for block in blocks(ROOT / "docs" / "exposures-and-metrics.md") if block.commands]
    assert json.loads(re.search(r"-d '(.*)'", call.text)[1]).keys() == {"timestamp", "type"}


def _anchor(heading):
    """Return the name that a heading has in a link, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_json_and_yaml_blocks_are_valid(page):
    for block in blocks(page):
        if block.kind == "json":
            lines = block.text.splitlines() if (block.file or "").endswith(".jsonl") else [block.text]
            assert all(isinstance(json.loads(line), dict) for line in lines)
        elif block.kind == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict)
