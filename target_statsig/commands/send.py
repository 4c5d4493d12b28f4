"""`--send`: sends a table of prepared requests instead of input; and its row of `--check`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from target_statsig.errors import FatalRunError, Heading, TargetStatsigError
from target_statsig.reports.text import counted
from target_statsig.store.tables import Command

if TYPE_CHECKING:
    from target_statsig.commands.check import Row
    from target_statsig.commands.run import Run


def send(run: Run, url: str) -> int:
    """Send the requests of a table that were not sent yet: a directory of Parquet files, a glob, or one file.

    Returns the exit code: 0 complete, 1 failed, 128 plus the signal's number if interrupted.
    """
    run.command = Command.SEND
    try:
        _need_pyarrow()
    except FatalRunError as error:
        run.fail(error)
        run.conclude()
        return run.exit_code
    from target_statsig.engine.send import send_table

    return send_table(run, url)


def table_row(run: Run, url: str) -> Row:
    """Return the row of `--check` about a table; `url` is as in `send`."""
    from target_statsig.commands.check import Mark, Row

    try:
        _need_pyarrow()
        from target_statsig.engine.files import open_table
        from target_statsig.engine.send import check_table

        table = open_table(url)
        check_table(run, table)
    except TargetStatsigError as error:
        return Row(Mark.FAIL, "--send", str(error))
    found = (
        f"{counted(table.records, 'record')} of stream '{table.stream}' in {counted(table.requests, 'request')}, "
        f"{table.rejections.total():,} rejected during preparation."
    )
    return Row(Mark.OK, "--send", found)


def _need_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        msg = (
            "`--send` reads Parquet files and needs pyarrow, which is not installed. Nothing was sent. Add the "
            "extra: pip install 'target-statsig[spark]'; under Meltano, `pip_url: target-statsig[spark]`"
        )
        raise FatalRunError(msg, heading=Heading.SETTINGS)
