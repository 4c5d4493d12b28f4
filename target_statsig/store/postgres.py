"""The shared store: a PostgreSQL database, for machines that lose their disk and for several of them.

Owns the driver and a connection's parameters. Refuses to know what the tables hold. The database must speak UTF-8, and
a pooler in between must leave a session its connection: what a run gathers stands in temporary tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import NullPool, create_engine, event

from target_statsig.exceptions import StoreError

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from target_statsig.clock import Clock


def engine(url: URL, _clock: Clock, patience: float) -> Engine:
    """Return an engine for a PostgreSQL database.

    Args:
        url: `postgresql+psycopg://…`.
        _clock: Not needed: the server does the waiting.
        patience: Seconds to wait for the server, and for another run's transaction.

    Raises:
        StoreError: The driver is not installed.
    """
    try:
        made = create_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,
            # Prepared statements would outlive the temporary tables they were made for.
            connect_args={"connect_timeout": max(2, int(patience)), "prepare_threshold": None},
        )
    except ModuleNotFoundError:
        msg = "store_url names a PostgreSQL database, and its driver is missing: pip install 'target-statsig[postgres]'"
        raise StoreError(msg) from None

    def prepare(driver_connection: Any, _record: object) -> None:
        if driver_connection.info.parameter_status("server_encoding") != "UTF8":
            msg = "store_url names a database that is not encoded in UTF-8; create one WITH ENCODING 'UTF8'"
            raise StoreError(msg)
        driver_connection.execute(f"SET lock_timeout = {int(patience * 1000)}")
        driver_connection.commit()

    event.listen(made, "connect", prepare)
    return made
