"""Calls of an emulator's APIs, with its keys."""

from __future__ import annotations

import json

import requests


def call_events(statsig, body, call="log_event", **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"statsig-api-key": statsig.server_secret_key} | headers
    return requests.post(f"{statsig.events_url}/{call}", data=data, headers=headers, timeout=10)


def call_console(statsig, method, path, ids=None, *, body=None, key=None):
    headers = {"STATSIG-API-KEY": statsig.console_api_key if key is None else key}
    body = body if ids is None else {"ids": ids}
    return requests.request(method, f"{statsig.console_url}/{path}", json=body, headers=headers, timeout=10)
