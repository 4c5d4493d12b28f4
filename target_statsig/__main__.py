"""`python -m target_statsig`, and the `target-statsig` command."""

from __future__ import annotations

import gc


def main() -> None:
    """Run the target's command line."""
    # Imports leave no garbage, and to search it takes a tenth of the start-up. A run turns the collector on again.
    gc.disable()
    from target_statsig.target import TargetStatsig

    try:
        TargetStatsig.cli()
    finally:
        # Otherwise Python's last collection takes a quarter of the time of `--version`.
        gc.freeze()


if __name__ == "__main__":
    main()
