"""When list mutations were sent, by every run that shares the store: Statsig's windows are the project's, not a run's.

Owns the times. Refuses to know how many requests fit into a window (`client.rate_limit` decides).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from target_statsig.store.tables import PROJECTS, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_statsig.store.engine import Lane


class StoredRequestLog:
    """Remembers the requests of one Statsig project, for all runs; see `client.rate_limit.RequestLog`."""

    def __init__(self, lane: Lane, project: int, *, keep: float) -> None:
        """Take where they stand.

        Args:
            lane: The connection to use.
            project: The project's number in the store.
            keep: Seconds for which a request is remembered: the longest window.
        """
        self._lane = lane
        self._project = project
        self._keep = keep

    def reserve(self, decide: Callable[[Sequence[float]], float], now: float) -> float:
        """Record a request, if it may be made now; no other run reserves meanwhile.

        Args:
            decide: Takes the times of the recent requests (seconds since 1970, ascending) and returns how many
                seconds the next has to wait; 0.0 where it may go.
            now: The time to record, in seconds since 1970.

        Returns:
            What `decide` returned; the request is recorded where that is 0.0.

        Raises:
            StoreError: The database failed.
        """
        ours = REQUESTS.c.project == self._project
        with self._lane.writing() as connection:
            # SQLite has one writer anyhow; in PostgreSQL the project's row is what runs queue up for.
            connection.execute(select(PROJECTS).where(PROJECTS.c.project == self._project).with_for_update())
            connection.execute(delete(REQUESTS).where(ours, REQUESTS.c.at < now - self._keep))
            times = connection.execute(select(REQUESTS.c.at).where(ours).order_by(REQUESTS.c.at)).scalars().all()
            wait = decide(times)
            if wait == 0.0:
                connection.execute(insert(REQUESTS).values(project=self._project, at=now))
            return wait
