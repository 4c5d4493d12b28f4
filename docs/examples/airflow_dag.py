"""Two DAGs for Airflow 3: orders of the past as events, day by day; and an audience as a segment, every hour.

Copy this file into your DAG folder, delete the DAG that you do not need, and change:

- FOLDER: a folder that the worker can read, with the settings `orders.json` and `audience.json`, and in `bin` your tap
  and target-statsig (a virtual environment: neither has to agree with Airflow on its packages).
- `tap-shop` and `tap-audience`, your taps; TAP_SHOP_START_DATE and TAP_SHOP_END_DATE, what yours calls its dates.
- The keys, TARGET_STATSIG_SERVER_SECRET_KEY and TARGET_STATSIG_CONSOLE_API_KEY, belong in the worker's environment.
"""

from __future__ import annotations

from datetime import date, timedelta

from airflow.sdk import dag, task

FOLDER = "/srv/statsig"

COMMAND = {
    "cwd": FOLDER,
    "env": {
        "PATH": f"{FOLDER}/bin:/usr/bin:/bin",
        # The store has to last from task to task: on one machine a file does, for several workers take PostgreSQL.
        "TARGET_STATSIG_STORE_URL": f"sqlite:///{FOLDER}/store.db",
    },
    "append_env": True,
    "do_xcom_push": False,
    "retries": 3,
    "retry_delay": timedelta(minutes=5),
    # The store lets one run at a time send a stream, or change a segment.
    "max_active_tis_per_dag": 1,
}


@dag(schedule=None, params={"first": "2026-11-01", "last": "2026-11-02"})
def statsig_backfill() -> None:
    """Send the orders from the first day to the last, a task for each day; start it with the two days you want."""

    @task
    def days(params: dict) -> list[str]:
        first, last = (date.fromisoformat(params[name]) for name in ("first", "last"))
        return [str(first + timedelta(days=number)) for number in range((last - first).days + 1)]

    @task.bash(**COMMAND)
    def send(day: str) -> str:
        after = date.fromisoformat(day) + timedelta(days=1)
        return f"""
            set -o pipefail
            export TAP_SHOP_START_DATE={day} TAP_SHOP_END_DATE={after}
            # Longer than the backfill takes, so that a day that is run again skips what was delivered.
            export TARGET_STATSIG_DEDUPE_DAYS=30
            tap-shop --config ENV | target-statsig --config orders.json --config ENV
        """

    send.expand(day=days())


@dag(schedule="@hourly", catchup=False)
def statsig_audience() -> None:
    """Mirror an audience; remove who is gone once tap and target have ended well."""

    @task.bash(**COMMAND)
    def mirror() -> str:
        return """
            set -o pipefail
            tap-audience --config ENV | target-statsig --config audience.json --config ENV
        """

    @task.bash(**COMMAND)
    def apply_held() -> str:
        return "target-statsig --config audience.json --config ENV --apply-held"

    mirror() >> apply_held()


statsig_backfill()
statsig_audience()
