"""Sends encoded items by an `EventsClient` in one request, as a stream sends a batch."""

from __future__ import annotations

from target_statsig.client.events import encode_body


def send_items(client, endpoint, items, *, what, flags=(), on_try=lambda *_: None):
    body = encode_body(endpoint, b",".join(items), flags, client.compression)
    return client.send_body(endpoint, body, len(items), what=what, on_try=on_try)
