"""`--check`: what a run would meet, found out with read-only calls, before any record.

`reading` asks Statsig and the store, `rows` (pure) turns what they say into rows, `table` (pure) into text. Sends
nothing, changes nothing, and makes no store where there is none.
"""

from target_statsig.commands.check.reading import check
from target_statsig.commands.check.row import failed
from target_statsig.commands.check.table import render

__all__ = ["check", "failed", "render"]
