"""Sessions of Spark for tests, with a limit of time for whatever waits for one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark
import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

ROOT = Path(__file__).parents[2]

HOME = Path(pyspark.__file__).parent

SECONDS = 300
"""How long a test may take: long, since only what is wrong takes so long."""

QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For Java that lives some seconds: compiled once only, and collected by one thread."""

LOGGING = """
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = {path}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %m%n%ex
"""


@contextmanager
def limited():
    """Fail after `SECONDS`, and kill Spark's driver: the tests that follow fail at once, and none waits for it."""

    def end(number, frame):
        if SparkContext._gateway is not None:
            SparkContext._gateway.proc.kill()
        pytest.fail(f"Spark took more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def session_on(master, place, **conf):
    """Start a session, whose log and events are in a directory; the Python workers find the tests."""
    logging = place / "log4j2.properties"
    logging.write_text(LOGGING.format(path=place / "spark.log"))
    (place / "events").mkdir(exist_ok=True)
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={logging} {QUICK}",
        "spark.executor.extraJavaOptions": QUICK,
        "spark.executorEnv.PYTHONPATH": str(ROOT),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": (place / "events").as_uri(),
        "spark.default.parallelism": "2",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
        "spark.sql.files.openCostInBytes": "0",
        "spark.sql.files.minPartitionNum": "4",
        **conf,
    }
    builder = SparkSession.builder.master(master).appName("orders")
    for name, value in settings.items():
        builder = builder.config(name, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("SPARK_LOCAL_HOSTNAME", "localhost")
        with limited():
            session = builder.getOrCreate()
        application = session.sparkContext.applicationId
        try:
            yield session
        finally:
            with limited():
                session.stop()
            shutil.rmtree(HOME / "work" / application, ignore_errors=True)


@contextmanager
def two_hosts(place):
    """Start a master and two workers of one core each, on hosts of their own, and return the master's URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"spark://127.0.0.1:{port}"
    with ExitStack() as stack:

        def start(name, host, *arguments):
            command = [HOME / "bin" / "spark-class", f"org.apache.spark.deploy.{name}", "--host", host]
            variables = {"SPARK_LOCAL_IP": host, "SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": QUICK}
            log = stack.enter_context((place / f"{host}-{name}.log").open("wb"))
            process = subprocess.Popen(
                [*map(str, command), "--webui-port", "0", *arguments],
                env={**os.environ, **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(process.wait, SECONDS)
            stack.callback(process.terminate)

        start("master.Master", "127.0.0.1", "--port", str(port))
        for host in ("127.0.0.2", "127.0.0.3"):
            start("worker.Worker", host, "--cores", "1", "--memory", "1g", "--work-dir", str(place / host), url)
        yield url
