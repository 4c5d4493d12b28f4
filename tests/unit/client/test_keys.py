from __future__ import annotations

import pytest

from target_statsig.client.keys import KeyKind
from target_statsig.exceptions import AuthenticationError
from target_statsig.settings import Settings

KINDS = [pytest.param(kind, id=kind.name) for kind in KeyKind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_settings_that_exist(kind):
    settings = Settings()

    assert hasattr(settings, kind.setting)
    assert hasattr(settings, kind.url_setting)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_a_header_can_hold_is_used_as_it_is(kind):
    assert kind.check("whatever-abcdef") == "whatever-abcdef"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "key",
    [
        pytest.param("secret-abcdefgh\n", id="line break"),
        pytest.param(" secret-abcdefgh", id="blank"),
        pytest.param("secret-abcdéfgh", id="not ASCII"),
    ],
)
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(kind, key):
    with pytest.raises(AuthenticationError, match=f"`{kind.setting}` holds a blank") as caught:
        kind.check(key)

    assert "abcd" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_key_is_named(kind):
    with pytest.raises(AuthenticationError, match=f"`{kind.setting}` is not set.*Project Settings > Keys"):
        kind.check("")


@pytest.mark.parametrize(
    ("kind", "key", "said"),
    [
        pytest.param(
            KeyKind.SERVER_SECRET,
            "client-abcdefghijkl",
            "ends in `…ijkl` and is a Client SDK Key (`client-…`)",
            id="client key for the server's",
        ),
        pytest.param(
            KeyKind.CONSOLE,
            "client-abcdefghijkl",
            "ends in `…ijkl` and is a Client SDK Key (`client-…`)",
            id="client key for the console's",
        ),
        pytest.param(
            KeyKind.SERVER_SECRET, "console-abcdefghijkl", "is a Console API Key (`console-…`)", id="console for server"
        ),
        pytest.param(
            KeyKind.CONSOLE, "secret-abcdefghijkl", "is a Server Secret Key (`secret-…`)", id="server for console"
        ),
        pytest.param(KeyKind.CONSOLE, "abcdefghijkl", "does not begin with `console-`", id="unknown prefix"),
        pytest.param(KeyKind.CONSOLE, "console-abcdefghijkl", "may have been revoked", id="right prefix"),
        pytest.param(KeyKind.CONSOLE, "abc", "is very short", id="too short to show any of it"),
    ],
)
def test_a_key_is_described_by_its_end_and_its_kind(kind, key, said):
    description = kind.describe(key)

    assert said in description
    assert key not in description
    assert "abc" not in description
