"""A Dagster asset: a day of orders as events. Each materialization shows what the run counted, or fails with its error.

Copy this file into your Dagster project, and change:

- FOLDER: a folder with the settings `orders.json`, and in `bin` your tap and target-statsig (a virtual environment).
- TAP, and what it calls its two dates. For a mirror leave the partitions out, and where both programs ended well go on
  with `subprocess.run([*TARGET, "--apply-held"], cwd=FOLDER, env=env, check=True)`.
- The keys, TARGET_STATSIG_SERVER_SECRET_KEY and TARGET_STATSIG_CONSOLE_API_KEY, belong in Dagster's environment.
- The pool: `dagster instance concurrency set statsig 1`, since the store lets one run at a time send a stream.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import dagster as dg

FOLDER = "/srv/statsig"
TAP = ["bin/tap-shop", "--config", "ENV"]
TARGET = ["bin/target-statsig", "--config", "orders.json", "--config", "ENV"]


@dg.asset(
    partitions_def=dg.DailyPartitionsDefinition(start_date="2026-01-01"),
    retry_policy=dg.RetryPolicy(max_retries=3, delay=300),
    pool="statsig",
)
def statsig_orders(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The orders of a day, as events in Statsig."""
    day = context.partition_time_window
    with tempfile.TemporaryDirectory() as folder:
        report_path = Path(folder, "report.json")
        env = os.environ | {
            "TAP_SHOP_START_DATE": f"{day.start:%Y-%m-%d}",
            "TAP_SHOP_END_DATE": f"{day.end:%Y-%m-%d}",
            # The store has to last from run to run: on one machine a file does, for several take PostgreSQL.
            "TARGET_STATSIG_STORE_URL": f"sqlite:///{FOLDER}/store.db",
            # Longer than a backfill takes, so that a day that is run again skips what was delivered.
            "TARGET_STATSIG_DEDUPE_DAYS": "30",
            "TARGET_STATSIG_REPORT_PATH": str(report_path),
        }
        exit_codes = run_pipe(env)
        report = json.loads(report_path.read_text()) if report_path.exists() else {}

    metadata = {
        f"{stream}: {name}": counts[name]
        for stream, counts in report.get("streams", {}).items()
        for name in ("records", "delivered", "rejected", "skipped_duplicates")
    }
    metadata["report"] = dg.MetadataValue.json(report)
    if any(exit_codes):
        # Where the target had no error, the tap had one.
        errors = report.get("errors") or ["The tap ended with exit code {}, the target with {}.".format(*exit_codes)]
        raise dg.Failure(errors[0], metadata=metadata)
    return dg.MaterializeResult(metadata=metadata)


def run_pipe(env: dict[str, str]) -> tuple[int, int]:
    """Run `tap | target`, whose logs Dagster captures, and return their exit codes."""
    with (
        subprocess.Popen(TAP, cwd=FOLDER, env=env, stdout=subprocess.PIPE) as tap,
        subprocess.Popen(TARGET, cwd=FOLDER, env=env, stdin=tap.stdout) as target,
    ):
        tap.stdout.close()
        try:
            return tap.wait(), target.wait()
        except BaseException:
            # Dagster ends this run. The target sends what it has read, and is waited for.
            tap.terminate()
            target.terminate()
            raise
