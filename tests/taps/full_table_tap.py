"""A tap with a FULL_TABLE stream, optionally a second stream, which may fail while it runs."""

from __future__ import annotations

import os
import signal

from singer_sdk import Stream, Tap
from singer_sdk import typing as th


class Members(Stream):
    """The members; every row has their number."""

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
                fail(self.config["death"])
            yield {"user_id": self.config["user_id"].format(number), "row_count": self.config["rows"]}


class SecondStream(Stream):
    """One row, in a stream that is synced after the members."""

    name = "then"
    schema = th.PropertiesList(th.Property("user_id", th.StringType)).to_dict()

    def get_records(self, context):
        yield {"user_id": self.config["user_id"].format("then")}


class FullTableTap(Tap):
    """A tap that may fail while it runs."""

    name = "full-table-tap"
    config_jsonschema = th.PropertiesList(
        th.Property("rows", th.IntegerType, required=True),
        th.Property("user_id", th.StringType, required=True, description="A format for the number of the row."),
        th.Property("last_row", th.IntegerType, description="The number of rows after which it fails."),
        th.Property("death", th.StringType, default="kill", allowed_values=["kill", "raise"]),
        th.Property("state_every", th.IntegerType, default=10_000, description="Records between STATEs."),
        th.Property("then", th.BooleanType, default=False, description="Whether there is a second stream."),
    ).to_dict()

    def discover_streams(self):
        return [Members(self), *([SecondStream(self)] if self.config["then"] else [])]


def fail(death):
    """End like a process that is killed for its memory, or with an exception."""
    if death == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    msg = "this row cannot be read"
    raise RuntimeError(msg)


if __name__ == "__main__":
    FullTableTap.cli()
