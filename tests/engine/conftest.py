"""Leaves the tests on Spark out where pyspark is not installed, and says so."""

from importlib.util import find_spec

HAS_PYSPARK = find_spec("pyspark") is not None

collect_ignore = [] if HAS_PYSPARK else ["test_spark.py"]


def pytest_report_header():
    return None if HAS_PYSPARK else "tests/engine/test_spark.py is left out: pyspark is missing (uv sync --group spark)"
