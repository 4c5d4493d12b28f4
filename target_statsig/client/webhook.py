"""The report sent to `notify_url` at the end of a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from target_statsig.client.http import Request, TransportError
from target_statsig.errors import TargetStatsigError

if TYPE_CHECKING:
    from target_statsig.client.http import Transport

logger = logging.getLogger(__name__)

NOTIFY_TIMEOUT = 10.0
"""Seconds for the only try: the run is over."""

_OK = range(200, 300)


def notify(url: str, body: bytes, transport: Transport) -> None:
    """POST a report. A failure is only logged, with the host alone, because the address may hold a secret."""
    request = Request("POST", url, {"Content-Type": "application/json"}, NOTIFY_TIMEOUT, body)
    try:
        status = transport.send(request).status
    except (TransportError, TargetStatsigError) as error:
        logger.warning("The report could not be sent to `notify_url` (%s): %s.", urlsplit(url).hostname, error)
        return
    if status not in _OK:
        logger.warning("`notify_url` (%s) refused the report: it answered %d.", urlsplit(url).hostname, status)
