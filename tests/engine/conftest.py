"""Tables to send; and what leaves the tests on Spark out where pyspark is not installed, and says so."""

from importlib.util import find_spec

import pytest

from tests.engine.tables import ORDERS, write_table

HAS_PYSPARK = find_spec("pyspark") is not None

collect_ignore = [] if HAS_PYSPARK else ["test_spark.py"]


def pytest_report_header():
    return None if HAS_PYSPARK else "tests/engine/test_spark.py is left out: pyspark is missing (uv sync --group spark)"


@pytest.fixture
def send(run_target):
    """Send a table, with settings beside those of `ORDERS`."""
    return lambda table, **settings: run_target.send(table, **{**ORDERS, **settings})


@pytest.fixture
def table(tmp_path):
    """Write a table of these parts."""
    return lambda *parts, config=ORDERS, name="table", **options: write_table(
        tmp_path / name, config, *parts, **options
    )
