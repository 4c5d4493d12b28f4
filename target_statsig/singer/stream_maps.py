"""singer-sdk's stream maps. An error in a map becomes an error of the configuration, with singer-sdk's own message."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import MapExpressionError, StreamMapConfigError
from singer_sdk.mapper import CustomStreamMap, PluginMapper

from target_statsig._compat import override
from target_statsig.errors import NO_STATE_PASSES, Heading, InputError, SettingsError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence

REMEDY = "Correct `stream_maps`: https://sdk.meltano.com/en/latest/stream_maps.html"

_ABOUT_THE_SETTING = (MapExpressionError, StreamMapConfigError, NotImplementedError)
"""Errors that singer-sdk raises on purpose. Any other error comes from a setting that it did not expect."""


class StreamMapError(Exception):
    """A stream map cannot be evaluated for a record."""

    def __init__(self, stream: str, message: str) -> None:
        super().__init__(message)
        self._stream = stream

    def at(self, number: int) -> InputError:
        """Return the error for the record on line `number` of the input."""
        what = f"A stream map of stream '{self._stream}' failed for the record in line {number}"
        return InputError(f"{what}: {self} {NO_STATE_PASSES} {REMEDY}", heading=Heading.SETTINGS)


class StreamMaps(PluginMapper):
    """The stream maps of a run."""

    def __init__(self, config: Mapping[str, Any], logger: logging.Logger) -> None:
        """Read the maps from the configuration.

        Raises:
            SettingsError: They cannot be used for any stream.
        """
        present = {name: value for name, value in config.items() if value is not None}
        try:
            super().__init__(present, logger)
        except Exception as error:  # noqa: BLE001 -- anything may stand in a setting
            raise SettingsError([f"{_message_of(error)} {REMEDY}"]) from None

    @override
    def register_raw_stream_schema(
        self, stream_name: str, schema: dict[str, Any], key_properties: Sequence[str] | None
    ) -> None:
        """Create the maps of a stream.

        Raises:
            SettingsError: One of them cannot be used.
        """
        try:
            super().register_raw_stream_schema(stream_name, schema, key_properties)
        except Exception as error:
            if not self.stream_maps_dict:
                raise
            raise SettingsError([f"stream '{stream_name}': {_message_of(error)} {REMEDY}"]) from None
        for stream_map in self.stream_maps[stream_name]:
            if isinstance(stream_map, CustomStreamMap):
                # Only these methods are given the expression, and only their errors show that a map failed.
                stream_map._eval = partial(_evaluate, stream_map._eval)  # type: ignore[method-assign]  # noqa: SLF001
                transform = partial(_transform, stream_name, stream_map.transform)
                stream_map.transform = transform  # type: ignore[method-assign]


def _transform(
    stream: str, transform: Callable[[dict[str, Any]], dict[str, Any] | None], record: dict[str, Any]
) -> dict[str, Any] | None:
    try:
        return transform(record)
    except (MapExpressionError, StreamMapConfigError) as error:
        # `from None`, because the evaluator's error may quote the record.
        raise StreamMapError(stream, _message_of(error)) from None


def _message_of(error: Exception) -> str:
    """Return singer-sdk's message about a map as a sentence. It names the setting, and no value of a record."""
    text = (
        str(error) if isinstance(error, _ABOUT_THE_SETTING) else f"singer-sdk cannot read it ({type(error).__name__})"
    )
    return text if text.endswith(".") else f"{text}."


def _evaluate(evaluate: Callable[..., Any], expr: str, **arguments: Any) -> Any:
    try:
        return evaluate(expr=expr, **arguments)
    except MapExpressionError:
        raise
    except Exception as error:  # noqa: BLE001 -- an expression may fail in any way
        # singer-sdk's own text for an error in the evaluator.
        msg = f"Failed to evaluate simpleeval expressions {expr} ({type(error).__name__})."
        raise MapExpressionError(msg) from None
