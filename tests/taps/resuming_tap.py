"""A tap that keeps its position in a FULL_TABLE stream, and resumes there in the next run."""

from __future__ import annotations

from singer_sdk import Stream, Tap
from singer_sdk import typing as th

from tests.taps.full_table_tap import fail

PAGE = 100
"""Rows of a page."""


class Members(Stream):
    """The members by number; every row has their number."""

    name = "members"
    primary_keys = ("user_id",)
    schema = th.PropertiesList(
        th.Property("user_id", th.StringType), th.Property("row_count", th.IntegerType)
    ).to_dict()

    @property
    def STATE_MSG_FREQUENCY(self):  # noqa: N802 -- singer-sdk's name
        return self.config["state_every"]

    def sync(self, context=None):
        """Sync the table, and end with an ACTIVATE_VERSION."""
        if self.config["activates"]:
            self._stream_version = self.stream_state.setdefault("version", 1)
        super().sync(context)
        if self.config["activates"]:
            self._write_activate_version_message(self._stream_version)

    def get_records(self, context):
        """Yield the rows from the position on; move it after each row, or after each page, with a STATE."""
        rows = self.config["rows"]
        position = self.stream_state
        begin = position.get("last_pk_fetched", 0) + position.get("page", 0) * PAGE
        for number, row in enumerate(range(begin, rows)):
            if number == self.config.get("last_row"):
                fail("kill")
            if not self.config["pages"]:
                position["last_pk_fetched"] = row + 1
                self.state_manager.is_flushed = False
            # Members who left are in no row any more; new members are at the end.
            yield {"user_id": self.config["user_id"].format(row + self.config["left"]), "row_count": rows}
            if self.config["pages"] and (row + 1) % PAGE == 0:
                position["page"] = (row + 1) // PAGE
                self.state_manager.is_flushed = False
                self._write_state_message()
        position.pop("last_pk_fetched", None)
        position.pop("page", None)
        self.state_manager.is_flushed = False


class ResumingTap(Tap):
    """A tap that may fail and resume."""

    name = "resuming-tap"
    config_jsonschema = th.PropertiesList(
        th.Property("rows", th.IntegerType, required=True),
        th.Property("user_id", th.StringType, required=True, description="A format for the number of the member."),
        th.Property("left", th.IntegerType, default=0, description="The number of members who left, from number 0 on."),
        th.Property("state_every", th.IntegerType, default=10_000, description="Records between STATEs."),
        th.Property("pages", th.BooleanType, default=False, description="Whether there is a STATE after each page."),
        th.Property("activates", th.BooleanType, default=True, description="Whether an ACTIVATE_VERSION comes last."),
        th.Property("last_row", th.IntegerType, description="The number of records after which it fails."),
    ).to_dict()

    def discover_streams(self):
        return [Members(self)]


if __name__ == "__main__":
    ResumingTap.cli()
