"""`python -m target_statsig`, and the `target-statsig` command."""

from __future__ import annotations


def main() -> None:
    """Run the target's command line."""
    from target_statsig.target import TargetStatsig  # noqa: PLC0415 -- nothing is imported before it is needed

    TargetStatsig.cli()


if __name__ == "__main__":
    main()
