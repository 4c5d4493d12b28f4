"""What a mistyped name may have meant."""

from __future__ import annotations

import pytest

from target_statsig.config.checks import nearest


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        pytest.param("Companyid", ["userID", "companyID"], "companyID", id="case"),
        pytest.param("comp_id", ["userID", "compID"], "compID", id="slip"),
        pytest.param("account", ["userID"], None, id="nothing like it"),
    ],
)
def test_the_nearest_name_is_found_whatever_its_case(name, known, expected):
    assert nearest(name, known) == expected
