"""A tap made with singer-sdk: a FULL_TABLE stream, perhaps another after it, perhaps a death on the way."""

from __future__ import annotations

import os
import signal

from singer_sdk import Stream, Tap
from singer_sdk import typing as th


class Table(Stream):
    """So many members; every row says how many there are."""

    name = "members"
    primary_keys = ("user_id",)
    schema = th.PropertiesList(
        th.Property("user_id", th.StringType), th.Property("row_count", th.IntegerType)
    ).to_dict()

    @property
    def STATE_MSG_FREQUENCY(self):  # noqa: N802 -- singer-sdk's name
        return self.config["state_every"]

    def get_records(self, context):
        for number in range(self.config["rows"]):
            if number == self.config.get("last_row"):
                die(self.config["death"])
            yield {"user_id": self.config["user_id"].format(number), "row_count": self.config["rows"]}


class Afterwards(Stream):
    """One row, in a stream whose name comes after that of the table."""

    name = "then"
    schema = th.PropertiesList(th.Property("user_id", th.StringType)).to_dict()

    def get_records(self, context):
        yield {"user_id": self.config["user_id"].format("then")}


class FullTableTap(Tap):
    """A database that may go away while it is read."""

    name = "full-table-tap"
    config_jsonschema = th.PropertiesList(
        th.Property("rows", th.IntegerType, required=True),
        th.Property("user_id", th.StringType, required=True, description="A format for the number of the row."),
        th.Property("last_row", th.IntegerType, description="The rows after which it dies."),
        th.Property("death", th.StringType, default="kill", allowed_values=["kill", "raise"]),
        th.Property("state_every", th.IntegerType, default=10_000, description="Records between STATEs."),
        th.Property("then", th.BooleanType, default=False, description="Whether another stream comes after the table."),
    ).to_dict()

    def discover_streams(self):
        return [Table(self), *([Afterwards(self)] if self.config["then"] else [])]


def die(death):
    """End as a process that runs out of memory does, or as one that trips over a row."""
    if death == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    msg = "this row cannot be read"
    raise RuntimeError(msg)


if __name__ == "__main__":
    FullTableTap.cli()
