"""A tap made with singer-sdk that keeps its place within a FULL_TABLE stream, and goes on from there the next time."""

from __future__ import annotations

from singer_sdk import Stream, Tap
from singer_sdk import typing as th

from tests.taps.full_table_tap import die

PAGE = 100
"""Rows of a page."""


class Members(Stream):
    """Members by number; every row says how many there are."""

    name = "members"
    primary_keys = ("user_id",)
    schema = th.PropertiesList(
        th.Property("user_id", th.StringType), th.Property("row_count", th.IntegerType)
    ).to_dict()

    @property
    def STATE_MSG_FREQUENCY(self):  # noqa: N802 -- singer-sdk's name
        return self.config["state_every"]

    def sync(self, context=None):
        """Sync the table, and say at its end that it is whole."""
        if self.config["activates"]:
            self._stream_version = self.stream_state.setdefault("version", 1)
        super().sync(context)
        if self.config["activates"]:
            self._write_activate_version_message(self._stream_version)

    def get_records(self, context):
        """Yield the rows from the place on, and move it row by row, or page by page with a STATE after each."""
        rows = self.config["rows"]
        place = self.stream_state
        begin = place.get("last_pk_fetched", 0) + place.get("page", 0) * PAGE
        for number, row in enumerate(range(begin, rows)):
            if number == self.config.get("last_row"):
                die("kill")
            if not self.config["pages"]:
                place["last_pk_fetched"] = row + 1
                self.state_manager.is_flushed = False
            # Who left is in no row any more, and those who came since are at the end.
            yield {"user_id": self.config["user_id"].format(row + self.config["left"]), "row_count": rows}
            if self.config["pages"] and (row + 1) % PAGE == 0:
                place["page"] = (row + 1) // PAGE
                self.state_manager.is_flushed = False
                self._write_state_message()
        place.pop("last_pk_fetched", None)
        place.pop("page", None)
        self.state_manager.is_flushed = False


class ResumingTap(Tap):
    """A source that may go away while it is read."""

    name = "resuming-tap"
    config_jsonschema = th.PropertiesList(
        th.Property("rows", th.IntegerType, required=True),
        th.Property("user_id", th.StringType, required=True, description="A format for the number of the member."),
        th.Property("left", th.IntegerType, default=0, description="How many have left, from number 0 on."),
        th.Property("state_every", th.IntegerType, default=10_000, description="Records between STATEs."),
        th.Property("pages", th.BooleanType, default=False, description="Whether there is a STATE after each page."),
        th.Property("activates", th.BooleanType, default=True, description="Whether an ACTIVATE_VERSION comes last."),
        th.Property("last_row", th.IntegerType, description="The records after which it dies."),
    ).to_dict()

    def discover_streams(self):
        return [Members(self)]


if __name__ == "__main__":
    ResumingTap.cli()
