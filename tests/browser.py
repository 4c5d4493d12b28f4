"""A page in the system's own Chromium, headless; without Chromium the test is skipped.

At the end of every test the page must have logged nothing on the console, and sent requests to the loopback only.
A conftest imports the fixtures by name.
"""

from __future__ import annotations

import shutil
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

PATIENCE_MS = 30_000

FAST_TIMERS = "const wait = setTimeout; window.setTimeout = (what, ms) => wait(what, ms / 10);"
"""Lets a page poll ten times as often."""


@pytest.fixture(scope="session")
def browser():
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no Chromium here: none of {', '.join(PROGRAMS)} is on the PATH")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def violations():
    """Collect console messages, errors and requests to other hosts; a test that provokes one removes it again."""
    return []


@pytest.fixture
def page(browser, violations):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(FAST_TIMERS)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: violations.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: violations.append(f"error: {error}"))
    page.on("request", lambda request: violations.extend(_request_elsewhere(request.url)))
    yield page
    context.close()
    assert violations == []


def _request_elsewhere(url):
    if not url.startswith("data:") and urlsplit(url).hostname != "127.0.0.1":
        yield f"request: {url}"
