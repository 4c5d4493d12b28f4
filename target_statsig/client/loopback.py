"""Which servers are on this machine, going by their names."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(server: str) -> bool:
    """Return whether a server is `localhost`, in 127.0.0.0/8, or `[::1]`.

    Args:
        server: As it stands in a `Host` header or behind an address's `//`: with or without a port and a path.
    """
    try:
        host = urlsplit(f"//{server}").hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
