"""Who is let in: programs on this machine, and the emulator's own page.

A web page from elsewhere, open in a browser on this machine, is not, be it by a name of its own that leads to
127.0.0.1 (DNS rebinding) or by a form that posts here.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from target_statsig.emulator.messages import RefusalError
from target_statsig.loopback import is_loopback

if TYPE_CHECKING:
    from target_statsig.emulator.messages import Arrival


def let_in(arrival: Arrival) -> None:
    """Look at who asks, before anything is done.

    Raises:
        RefusalError: It is a web page from elsewhere.
    """
    host = arrival.headers.get("host", "")
    if not is_loopback(host):
        msg = "The emulator answers only where it is called localhost, 127.x.x.x or [::1] in the Host header"
        raise RefusalError(HTTPStatus.MISDIRECTED_REQUEST, msg)
    if arrival.method != "GET" and arrival.headers.get("origin", f"http://{host}") != f"http://{host}":
        msg = "The emulator takes nothing from a web page of another origin"
        raise RefusalError(HTTPStatus.FORBIDDEN, msg)
