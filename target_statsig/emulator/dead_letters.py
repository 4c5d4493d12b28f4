"""Why records are in dead-letter files, read before the files go away.

Knows that a line is a Singer message and that a record has its reason beside it. Refuses to know who wrote it.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def count_dead_letters(folder: Path) -> Counter[str]:
    """Return the number of records in all files under a folder by reason, and field where one is at fault."""
    reasons: Counter[str] = Counter()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open(encoding="utf-8", errors="replace") as lines:
                reasons.update(_reasons(lines))
    return reasons


def _reasons(lines: Iterable[str]) -> Iterable[str]:
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict) and message.get("type") == "RECORD":
            reason = message.get("reason", "for no reason that it tells")
            yield f"{reason} ({message['field']})" if "field" in message else str(reason)
