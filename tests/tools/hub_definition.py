"""The entries for the Meltano Hub: a loader and a utility, for `_data/meltano/loaders/target-statsig/<variant>.yml`.

A loader cannot be a step of `meltano run` by itself, but a utility's command can, so the same program is both. This
module has what the Hub requires besides the settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OWNER = "target-statsig"
"""The organisation that publishes the repository, which the Hub calls the variant; a fork puts its own name here."""

UNKNOWN_TO_MELTANO = frozenset({"validate-records"})
"""Capabilities of singer-sdk that Meltano has no name for."""

HEADER = """\
# An entry of this target for the Meltano Hub, and what `meltano add … --from-ref` reads.
# From the schema, by `python -m tests.tools.plugin_definition --write`.
"""

# Meltano hands a command no configuration file, but all settings as variables.
CHECK = {
    "args": "--config ENV --check",
    "description": "Check the keys, the segments, the ID types, the store and the dead letters",
}
DRY_RUN = {
    "args": "--config ENV --dry-run",
    "description": "Read Singer messages from standard input, change nothing, and show what a run would do",
}
REPLAY = {
    "args": "--config ENV --replay",
    "description": "Send the dead letters again, and delete those that were delivered",
}
APPLY_HELD = {
    "args": "--config ENV --apply-held",
    "description": "Remove the members that the last run of a mirror held, after the tap ended well",
}

STATUS = {
    "args": "--config ENV --status",
    "description": "Show how the last runs ended, and what is held, kept, rejected or running",
}
VERIFY = {
    "args": "--config ENV --verify",
    "description": "Ask Statsig which events and exposures of the last run it has",
}
COMMANDS = {"apply-held": APPLY_HELD, "check": CHECK, "replay": REPLAY, "status": STATUS, "verify": VERIFY}
"""Commands of the loader and the utility. They read no input, so that they may be steps of `meltano run`."""

KEYS_PREREQ = """\
A Statsig project. From Project Settings > Keys & Environments: a Server Secret Key for events, exposures and metrics, \
a Console API Key for segments.
"""

SETTINGS_PREAMBLE = """\
`streams` says for each stream, by its name or a glob, what its records become. Every setting of a stream may also \
stand at the top level, as the default for all streams.
"""

NEXT_STEPS = """\
1. Say what your streams become:

   ```yaml
   config:
     streams:
       public-orders:
         object_type: event
         event_name: purchase
         field_mapping: {user_id: customer_id, event_value: total, event_time: placed_at}
       public-vip_audience:
         object_type: segment
         segment_id: vip_users
         sync_mode: mirror
         row_count_field: row_count
   ```

1. See what would arrive, in a Statsig on your own machine:

   ```bash
   pip install 'target-statsig[emulator]'
   statsig-emulator meltano run tap-postgres target-statsig
   ```

1. Check the keys and the segments: `meltano invoke target-statsig:check`

1. A mirror without `row_count_field` removes nobody until it is known that the tap ended well. Add the utility \
`statsig` with the same settings, and run it as the next step: \
`meltano run tap-postgres target-statsig statsig:apply-held`
"""

NEXT_STEPS_OF_UTILITY = """\
1. Give it the settings of the loader `target-statsig`, by a YAML anchor or by the same `TARGET_STATSIG_…` variables:

   ```yaml
   loaders:
   - name: target-statsig
     config: &statsig
       streams: …
   utilities:
   - name: statsig
     config: *statsig
   ```

1. Make it the last step of what mirrors a segment: `meltano run tap-postgres target-statsig statsig:apply-held`
"""


def render_loader(settings: Iterable[Mapping[str, Any]], capabilities: Iterable[str]) -> str:
    """Return the loader's entry as the Hub has it: keys sorted, settings in their own order.

    Args:
        settings: As Meltano wants them declared.
        capabilities: As singer-sdk names them.
    """
    return _render(
        settings,
        capabilities=sorted(set(capabilities) - UNKNOWN_TO_MELTANO),
        commands=dict(sorted({**COMMANDS, "dry-run": DRY_RUN}.items())),
        definition="sends events to Statsig, and keeps its ID-list segments in step with a table or view",
        keywords=["meltano_sdk", "reverse-etl", "feature-flags", "experimentation", "product-analytics", "statsig"],
        logo_url="/assets/logos/loaders/statsig.png",
        name="target-statsig",
        next_steps=NEXT_STEPS,
    )


def render_utility(settings: Iterable[Mapping[str, Any]]) -> str:
    """Return the utility's entry: the same program, with the commands that can be steps of `meltano run`.

    Args:
        settings: As Meltano wants them declared.
    """
    return _render(
        settings,
        commands=COMMANDS,
        definition="finishes what the loader target-statsig could not know to be finished",
        keywords=["reverse-etl", "feature-flags", "statsig"],
        logo_url="/assets/logos/utilities/statsig.png",
        name="statsig",
        next_steps=NEXT_STEPS_OF_UTILITY,
    )


def _render(settings: Iterable[Mapping[str, Any]], **own: Any) -> str:
    entry = {
        "description": "Feature flags, experiments and product analytics",
        "domain_url": "https://statsig.com",
        "executable": "target-statsig",
        "label": "Statsig",
        "maintenance_status": "beta",
        "namespace": "target_statsig",
        "pip_url": "target-statsig",
        "prereq": KEYS_PREREQ,
        "repo": f"https://github.com/{OWNER}/target-statsig",
        # One of the two is enough: events need the first, segments the second.
        "settings_group_validation": [["server_secret_key"], ["console_api_key"]],
        "settings_preamble": SETTINGS_PREAMBLE,
        "variant": OWNER,
        **own,
    }
    entry["settings"] = [dict(sorted(setting.items())) for setting in settings]
    return HEADER + yaml.dump(
        dict(sorted(entry.items())), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
