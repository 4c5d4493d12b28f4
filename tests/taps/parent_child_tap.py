"""A tap with companies and the users of each; it may fail within the users of a company."""

from __future__ import annotations

from singer_sdk import Stream, Tap
from singer_sdk import typing as th

from tests.taps.full_table_tap import fail


class Companies(Stream):
    """The parent stream."""

    name = "companies"
    primary_keys = ("company_id",)
    schema = th.PropertiesList(th.Property("company_id", th.StringType)).to_dict()

    def get_records(self, context):
        for company in range(self.config["companies"]):
            yield {"company_id": self.config["company_id"].format(company)}

    def get_child_context(self, record, context):
        return {"company_id": record["company_id"]}


class Users(Stream):
    """The users of one company."""

    name = "users"
    primary_keys = ("user_id",)
    parent_stream_type = Companies
    schema = th.PropertiesList(
        th.Property("company_id", th.StringType), th.Property("user_id", th.StringType)
    ).to_dict()

    def get_records(self, context):
        is_failing = context["company_id"] == self.config["company_id"].format(self.config.get("dies_in"))
        for user in range(self.config["users"]):
            if is_failing and user == self.config["last_user"]:
                fail(self.config["death"])
            yield {"user_id": f"{context['company_id']}-{user}"}


class ParentChildTap(Tap):
    """A tap with a parent stream and a child stream."""

    name = "parent-child-tap"
    config_jsonschema = th.PropertiesList(
        th.Property("companies", th.IntegerType, required=True),
        th.Property("users", th.IntegerType, required=True, description="Users of each company."),
        th.Property("company_id", th.StringType, required=True, description="A format for the company's number."),
        th.Property("dies_in", th.IntegerType, description="The number of the company in which it fails."),
        th.Property("last_user", th.IntegerType, default=0, description="The number of users after which it fails."),
        th.Property("death", th.StringType, default="kill", allowed_values=["kill", "raise"]),
    ).to_dict()

    def discover_streams(self):
        return [Companies(self), Users(self)]


if __name__ == "__main__":
    ParentChildTap.cli()
