"""Fixtures for the tests that start other programs."""

from __future__ import annotations

from tests.browser import browser, misdeeds, page

__all__ = ["browser", "misdeeds", "page"]
