"""A record on its way from the input to Statsig, with what the tap sent around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Record:
    """A record on its way.

    Attributes:
        data: The record after the stream maps.
        message: The RECORD message as the tap sent it.
        schema: The SCHEMA message of its stream as the tap sent it.
    """

    data: Mapping[str, Any]
    message: Mapping[str, Any]
    schema: Mapping[str, Any]
