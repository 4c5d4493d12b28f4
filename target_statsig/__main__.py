"""`python -m target_statsig`, and the `target-statsig` command."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the target's command line."""
    # What is imported is no garbage, and to look through it takes a tenth of a start. A run turns it on again.
    gc.disable()
    from target_statsig.target import TargetStatsig

    try:
        TargetStatsig.cli()
    finally:
        # Python looks for garbage once more before it ends: that would take a quarter of what `--version` takes.
        gc.freeze()


if __name__ == "__main__":
    main()
