"""Generates the settings of `meltano.yml`, the settings page and the Meltano Hub entries from the schema.

python -m tests.tools.plugin_definition           prints all parts
python -m tests.tools.plugin_definition --write   writes them into their files
"""

from __future__ import annotations

import copy
import json
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from target_statsig.config.settings import STREAM_TYPES, Settings
from target_statsig.target import TargetStatsig
from tests.tools import hub_definition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parent.parent.parent

KINDS = {"array": "array", "boolean": "boolean", "integer": "integer", "object": "object", "string": "string"}
"""Meltano's kind of setting by JSON type; a setting with an `enum` is `options`, whatever its type."""

ACRONYMS = {"Api": "API", "Id": "ID", "Ids": "IDs", "Url": "URL"}


@dataclass(frozen=True, slots=True)
class GeneratedPart:
    """The part of a file between two marks, each on its own line."""

    path: Path
    begin: str
    end: str

    def read(self) -> str:
        """Return the lines between the marks.

        Raises:
            ValueError: If the file does not hold both marks once.
        """
        return self._split()[1]

    def write(self, text: str) -> None:
        """Replace the lines between the marks; `text` ends with a line break."""
        before, _, after = self._split()
        self.path.write_text(before + text + after, encoding="utf-8")

    def _split(self) -> tuple[str, str, str]:
        marks = f"(.*^ *{re.escape(self.begin)}\n)(.*?)(^ *{re.escape(self.end)}$.*)"
        found = re.fullmatch(marks, self.path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        if found is None:
            msg = f"{self.path.name} needs a line {self.begin!r}, and after it a line {self.end!r}"
            raise ValueError(msg)
        return found[1], found[2], found[3]


@dataclass(frozen=True, slots=True)
class GeneratedFile:
    """A file that is generated as a whole."""

    path: Path

    def read(self) -> str:
        """Return all of it."""
        return self.path.read_text(encoding="utf-8")

    def write(self, text: str) -> None:
        """Replace all of it."""
        self.path.write_text(text, encoding="utf-8")


SETTINGS_PAGE = GeneratedPart(ROOT / "docs" / "settings.md", "<!-- settings:begin -->", "<!-- settings:end -->")
MELTANO = GeneratedPart(ROOT / "meltano.yml", "# settings:begin", "# settings:end")
HUB = GeneratedFile(ROOT / "docs" / "meltano-hub" / "target-statsig.yml")
HUB_UTILITY = GeneratedFile(ROOT / "docs" / "meltano-hub" / "statsig.yml")


def whole_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration, with the settings that singer-sdk adds."""
    schema = copy.deepcopy(TargetStatsig.config_jsonschema)
    TargetStatsig.append_builtin_config(schema)
    return schema


def meltano_settings() -> list[dict[str, Any]]:
    """Return the settings as Meltano declares them."""
    return [_meltano_setting(name, declared) for name, declared in whole_schema()["properties"].items()]


def _meltano_setting(name: str, declared: Mapping[str, Any]) -> dict[str, Any]:
    setting = {"name": name, "label": _label(name), "kind": _kind(declared)}
    if "enum" in declared:
        setting["options"] = [{"label": value, "value": value} for value in declared["enum"]]
    if declared.get("secret"):
        setting["sensitive"] = True
    if "default" in declared:
        setting["value"] = declared["default"]
    return {**setting, "description": declared["description"]}


def _label(name: str) -> str:
    return " ".join(ACRONYMS.get(word, word) for word in name.replace("_", " ").title().split())


def _kind(declared: Mapping[str, Any]) -> str:
    if "enum" in declared:
        return "options"
    types = declared["type"]
    return next(KINDS[name] for name in ([types] if isinstance(types, str) else types) if name in KINDS)


def meltano_text(settings: Sequence[Mapping[str, Any]]) -> str:
    """Return the YAML list of settings, indented as in a plugin."""
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=110)
    return "".join(f"    {line}\n" for line in text.splitlines())


def settings_markdown() -> str:
    """Return all settings as Markdown tables: for the run, for each kind of stream, and of singer-sdk."""
    properties: Mapping[str, Any] = whole_schema()["properties"]
    groups: dict[str, list[str]] = {"The run": [], "Every stream": []}
    run_settings = {field.name for field in fields(Settings)}
    sdk_rows = []
    for name, declared in properties.items():
        kinds, sentence = _kinds_of_stream(declared["description"])
        if name in run_settings or name == "streams":
            groups["The run"].append(_row(name, declared, sentence))
        elif name not in STREAM_TYPES:
            sdk_rows.append(_row(name, declared, sentence))
        elif not kinds:
            groups["Every stream"].append(_row(name, declared, sentence))
        else:
            groups.setdefault(kinds, []).append(_row(name, declared, sentence))
    text = "".join(f"## {_title(title)}\n\n{TABLE_HEAD}{''.join(rows)}\n" for title, rows in groups.items())
    summary = "<summary>singer-sdk's own settings</summary>"
    return f"{text}<details markdown>\n{summary}\n\n{TABLE_HEAD}{''.join(sdk_rows)}\n</details>\n"


TABLE_HEAD = "| setting | default | meaning |\n| --- | --- | --- |\n"

KINDS_OF_STREAM = re.compile(
    r"((?:(?:events|exposures|metrics|segments)(?:, )?)+)( \(required\))?: (.*)", re.IGNORECASE | re.DOTALL
)
"""The beginning of a description that names the kinds of stream that have the setting."""


def _kinds_of_stream(description: str) -> tuple[str, str]:
    found = KINDS_OF_STREAM.fullmatch(description)
    if found is None:
        return "", description
    return found[1], f"{found[3][0].upper()}{found[3][1:]}{' Required.' if found[2] else ''}"


def _title(kinds: str) -> str:
    names = kinds.split(", ")
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else kinds


def _row(name: str, declared: Mapping[str, Any], sentence: str) -> str:
    default = declared.get("default")
    shown = "" if default is None else f"`{json.dumps(default) if not isinstance(default, str) else default}`"
    choices = "".join(f" `{value}`" for value in declared.get("enum", ()))
    bounds = _bounds(declared)
    return f"| `{name}` | {shown} | {sentence}{f' One of{choices}.' if choices else ''}{bounds} |\n"


def _bounds(declared: Mapping[str, Any]) -> str:
    least, most = declared.get("minimum"), declared.get("maximum")
    if least is None and most is None:
        return ""
    return f" From {least:,} to {most:,}." if most is not None else f" At least {least:,}."


def hub_text() -> str:
    """Return the loader's entry of the Meltano Hub, which `meltano add --from-ref` reads, too."""
    capabilities = [str(capability.value) for capability in TargetStatsig.capabilities]
    return hub_definition.render_loader(meltano_settings(), capabilities)


def hub_utility_text() -> str:
    """Return the utility's entry of the Meltano Hub."""
    return hub_definition.render_utility(meltano_settings())


def main(arguments: Sequence[str]) -> int:
    """Print all parts, or write them."""
    parts = {
        SETTINGS_PAGE: settings_markdown(),
        MELTANO: meltano_text(meltano_settings()),
        HUB: hub_text(),
        HUB_UTILITY: hub_utility_text(),
    }
    for part, text in parts.items():
        if "--write" in arguments:
            part.write(text)
        else:
            sys.stdout.write(f"{part.path.name}\n\n{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
