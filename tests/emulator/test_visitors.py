"""Who may ask the emulator anything: no web page from elsewhere that is open in a browser on this machine."""

from __future__ import annotations

import pytest
import requests

EVENT = {"events": [{"eventName": "ping", "user": {"userID": "u1"}}]}


def post(statsig, path="/v1/log_event", json=EVENT, **headers):
    headers = {"statsig-api-key": statsig.server_secret_key, **headers}
    return requests.post(statsig.url + path, json=json, headers=headers, timeout=10).status_code


def port_of(statsig):
    return statsig.url.rpartition(":")[2]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{}", "127.0.0.1", "127.0.0.1:{}", "127.8.9.10", "[::1]:{}"])
def test_this_machine_is_answered_by_each_of_its_names(statsig, host):
    assert post(statsig, Host=host.format(port_of(statsig))) == 202


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("rebound.example", id="another name"),
        pytest.param("rebound.example:{}", id="another name with the port"),
        pytest.param("localhost.rebound.example", id="a name that begins alike"),
        pytest.param("127.0.0.1.rebound.example", id="a name that begins like an address"),
        pytest.param("192.168.0.7:{}", id="an address in the network"),
        pytest.param("[::2]", id="another address of IPv6"),
        pytest.param("[::1", id="half an address"),
        pytest.param("", id="none"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/log_event", "/console/v1/segments/vips/id_list", "/_emulator/state", "/"])
def test_nobody_is_answered_who_calls_it_by_another_name(statsig, host, path):
    host = host.format(port_of(statsig))

    assert requests.get(statsig.url + path, headers={"Host": host}, timeout=10).status_code == 421
    assert post(statsig, path, Host=host) == 421
    assert statsig.state.events == []


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{}"])
@pytest.mark.parametrize("path", ["/v1/log_event", "/_emulator/clear"])
def test_a_page_of_another_origin_changes_nothing(statsig, origin, path):
    assert post(statsig) == 202

    assert post(statsig, path, Origin=origin.format(port_of(statsig))) == 403
    assert len(statsig.state.events) == 1


def test_its_own_page_may_change_something(statsig):
    assert post(statsig, "/_emulator/clear", Origin=statsig.url) == 200
