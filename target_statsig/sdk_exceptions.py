"""The errors for which singer-sdk has a class, too: who embeds the target may catch them as such.

They stand apart from their tree (`exceptions`), so that what raises and catches errors need not import singer-sdk.
"""

from __future__ import annotations

from singer_sdk.exceptions import MissingKeyPropertiesError, RecordsWithoutSchemaException

from target_statsig.exceptions import InputError, RejectionsError


class SchemaMissingError(InputError, RecordsWithoutSchemaException):
    """A RECORD came before the SCHEMA of its stream."""


class MissingKeyRejectionError(RejectionsError, MissingKeyPropertiesError):
    """The first rejected record, where none is allowed, lacks a key property."""
