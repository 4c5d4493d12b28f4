"""The name that a mistyped one may have meant."""

from __future__ import annotations

import pytest

from target_statsig.config.checks import nearest


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        pytest.param("Companyid", ["userID", "companyID"], "companyID", id="case"),
        pytest.param("comp_id", ["userID", "compID"], "compID", id="typo"),
        pytest.param("account", ["userID"], None, id="none"),
    ],
)
def test_the_nearest_name_is_found(name, known, expected):
    assert nearest(name, known) == expected
