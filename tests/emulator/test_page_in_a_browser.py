"""The emulator's page in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from target_statsig.emulator import Fault

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
SHOP = "cat sample_data/shop.singer | target-statsig --config sample_data/config.json --config ENV"

PURCHASE = {
    "eventName": "purchase",
    "time": 1_793_723_578_000,
    "value": 26.1,
    "user": {"userID": "u-1344", "statsigEnvironment": {"tier": "production"}},
}


@pytest.fixture
def target(statsig):
    """A session that sends like a target, so that its connection is a run."""
    with requests.Session() as session:
        session.headers["statsig-api-key"] = statsig.server_secret_key
        yield session


@pytest.fixture
def start_with_keep():
    """Start `statsig-emulator --keep` with a command, and return the address that it prints."""
    processes = []

    def start(*arguments):
        program = [sys.executable, "-m", "target_statsig.emulator", "--keep", *arguments]
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = subprocess.Popen(program, cwd=ROOT, env=os.environ | {"PATH": path}, text=True, **pipes)
        processes.append(process)
        for line in process.stderr:
            if found := re.search(r"http://\S+", line):
                return found[0]
        raise AssertionError(program)

    yield start
    for process in processes:
        process.terminate()
        process.communicate()


def send(statsig, target, *events):
    target.post(f"{statsig.events_url}/log_event", json={"events": events}, timeout=10)


def total(page, noun):
    return page.locator(".totals div").filter(has_text=noun).locator("dd")


def test_the_page_shows_what_the_target_sent(start_with_keep, page):
    page.goto(start_with_keep("--segment", "vip_users=sample_data/vip_users_last_week.txt", "sh", "-c", SHOP))

    expect(total(page, "events")).to_have_text("39")
    expect(total(page, "segment changed")).to_have_text("1")
    expect(page.get_by_role("row", name="view_item 16 6")).to_be_visible()

    page.get_by_role("button", name="purchase").click()
    expect(page.get_by_text('"customer1323@example.com"')).to_be_visible()
    expect(page.get_by_text("2026-11-13 09:19:32.000 UTC")).to_be_visible()

    page.get_by_role("button", name="vip_users").click()
    members = page.get_by_label("Members of vip_users")
    expect(members.get_by_role("listitem")).to_have_count(40)
    page.get_by_role("searchbox").fill("u-13")
    expect(members.get_by_text("u-1023")).to_have_count(0)
    expect(members.get_by_text("u-1304")).to_be_visible()
    expect(page.get_by_text("add 4 ids: +4")).to_be_visible()

    page.get_by_role("button", name="show them").click()
    expect(page.get_by_role("row", name="u-1323 userID")).to_be_visible()
    expect(page.get_by_role("row", name="POST log_event 1 39")).to_be_visible()
    expect(page.get_by_role("img", name="Bytes over time")).to_be_visible()


def test_the_page_shows_exposures_and_metrics(statsig, page, target):
    exposure = {"experimentName": "checkout", "group": "Test", "time": 1_793_723_578_000, "user": {"userID": "u-1"}}
    metric = {"user_id": "u-1", "id_type": "user_id", "metric_name": "net_revenue", "metric_value": 26.1}
    target.post(f"{statsig.events_url}/log_custom_exposure", json={"exposures": [exposure]}, timeout=10)
    target.post(f"{statsig.events_url}/log_custom_metric", json={"metrics": [metric] * 2}, timeout=10)

    page.goto(statsig.url)

    expect(page.get_by_role("heading", name="Exposures")).to_be_visible()
    expect(page.get_by_role("row", name="checkout experiment Test none named 1 1")).to_be_visible()
    expect(page.get_by_role("row", name="net_revenue user_id value 2 1")).to_be_visible()


def test_an_empty_page_shows_the_variables_and_then_the_events(statsig, page, target):
    page.goto(statsig.url)
    expect(page.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()
    expect(page.get_by_text(f"export TARGET_STATSIG_EVENTS_URL={statsig.events_url}")).to_be_visible()
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()

    send(statsig, target, PURCHASE)

    expect(total(page, "event")).to_have_text("1")
    expect(page.get_by_role("status")).to_have_text("1 event, 0 segments changed, 1 request.")
    expect(page.get_by_role("heading", name="Nothing has arrived yet")).to_have_count(0)
    expect(page).to_have_title("1 event · Statsig emulator")


def test_refused_dropped_and_doubtful_events_have_reasons(statsig, page, target):
    statsig.faults.add(Fault(status=503, times=1))
    send(statsig, target, PURCHASE)
    send(statsig, target, PURCHASE | {"eventName": "10% off"}, {"eventName": "anonymous"})
    page.goto(statsig.url)

    expect(page.get_by_text("503 POST log_event: fault: 503 answered")).to_be_visible()
    expect(page.get_by_text('silently dropped: "10% off": the name has a character that Statsig drops')).to_be_visible()
    expect(page.get_by_text("doubtful: no userID and no customIDs")).to_be_visible()

    page.get_by_role("button", name="the first one: no userID").click()
    expect(page.get_by_text('"anonymous"')).to_be_visible()


def test_control_characters_in_names_are_escaped(statsig, page, target):
    statsig.state.seed_segment("vips\n\x1b2J\u202e")
    send(statsig, target, PURCHASE | {"eventName": "a\x1b2J\tb"})
    page.goto(statsig.url)

    expect(page.get_by_role("button", name=r"a\x1b2J\tb")).to_be_visible()
    expect(page.get_by_role("row", name=r"vips\n\x1b2J\u202e")).to_be_visible()


def test_runs_are_listed_newest_first(statsig_factory, page):
    now = [1_800_000_000.0]
    statsig = statsig_factory(clock=lambda: now[0])
    for names in (["login", "login"], ["login", "logout"]):
        with requests.Session() as target:
            target.headers["statsig-api-key"] = statsig.server_secret_key
            send(statsig, target, *(PURCHASE | {"eventName": name} for name in names))
        while statsig.state.active:
            pass
        now[0] += 60
    page.goto(statsig.url)
    runs = page.get_by_role("navigation", name="Runs").get_by_role("button")

    expect(runs).to_contain_text(["Run 2", "Run 1"])
    expect(page.get_by_role("row", name="login 1 \N{MINUS SIGN}1")).to_be_visible()
    expect(page.get_by_role("row", name="logout 1 +1")).to_be_visible()

    runs.nth(1).click()
    expect(page.get_by_role("row", name="login 2")).to_be_visible()
    expect(page.get_by_role("button", name="logout")).to_have_count(0)


def test_clearing_empties_the_page(statsig, page, target):
    send(statsig, target, PURCHASE)
    page.goto(statsig.url)
    page.get_by_role("button", name="Clear").click()

    expect(page.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()
    assert statsig.state.events == []


def test_values_are_shown_as_text_and_not_as_markup(statsig, page, target):
    markup = "<img src=x onerror=\"console.log('run')\"></script><script>console.log('run')</script>"
    send(statsig, target, PURCHASE | {"eventName": "a", "metadata": {markup: markup}, "user": {"userID": markup}})
    statsig.state.seed_segment(markup, [markup])
    page.goto(statsig.url)
    page.get_by_role("button", name="a", exact=True).click()
    page.get_by_role("button", name="show them").click()
    page.get_by_role("button", name=markup).click()

    expect(page.get_by_text(markup, exact=True)).to_have_count(3)
    expect(page.locator("main img")).to_have_count(0)


def test_input_and_focus_stay_while_more_arrives(statsig, page, target):
    statsig.state.seed_segment("vip_users", ["u-1", "u-2", "v-1"])
    send(statsig, target, PURCHASE)
    page.goto(statsig.url)
    page.get_by_role("button", name="vip_users").click()
    page.get_by_role("searchbox").fill("u-")
    expect(page.get_by_label("Members of vip_users").get_by_role("listitem")).to_have_text(["u-1", "u-2"])

    send(statsig, target, PURCHASE, PURCHASE)

    expect(total(page, "events")).to_have_text("3")
    expect(page.get_by_role("searchbox")).to_be_focused()
    expect(page.get_by_role("searchbox")).to_have_value("u-")
    expect(page.get_by_label("Members of vip_users").get_by_role("listitem")).to_have_text(["u-1", "u-2"])


def test_an_overtaken_response_is_ignored(statsig, page):
    statsig.state.seed_segment("vip_users", ["u-1", "v-1"])
    held = []

    def hold(route):
        held.append(route)

    page.route(re.compile(r"/members\?.*find=$"), hold)
    page.goto(statsig.url)
    page.get_by_role("button", name="vip_users").click()
    page.get_by_role("searchbox").fill("u-")
    members = page.get_by_label("Members of vip_users").get_by_role("listitem")
    expect(members).to_have_text(["u-1"])

    with page.expect_response(re.compile(r"find=$")) as late:
        held[0].continue_()
    assert late.value.json() == ["u-1", "v-1"]
    page.evaluate("fetch('_emulator/state').then((answer) => answer.json())")

    expect(members).to_have_text(["u-1"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_on_a_phone(statsig, page, target, scheme):
    statsig.state.seed_segment("a_segment_with_a_name_that_is_longer_than_a_phone_is_wide", ["member" * 20])
    send(statsig, target, PURCHASE | {"eventName": "n" * 100, "metadata": {"k" * 90: "v" * 900}})
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(statsig.url)
    for name in ("nnn", "a_segment", "show them", "these variables"):
        page.get_by_role("button", name=name).click()
    expect(page.get_by_text("vvv")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") == 360


WORDS_ON_TWO_LINES = """() => {
  const words = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const found of texts.currentNode.data.matchAll(/[^\\s/]+/g)) {
      const range = document.createRange();
      range.setStart(texts.currentNode, found.index);
      range.setEnd(texts.currentNode, found.index + found[0].length);
      if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) words.push(found[0]);
    }
  }
  return words;
}"""


def test_no_word_is_broken_on_a_phone(statsig, page, target):
    statsig.state.seed_segment("vip_users", ["a"]).change("add", ["b"])
    send(statsig, target, PURCHASE, PURCHASE | {"eventName": "begin_checkout"}, PURCHASE | {"user": {}})
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(statsig.url)
    expect(page.get_by_role("button", name="begin_checkout")).to_be_visible()

    assert page.evaluate(WORDS_ON_TWO_LINES) == []


def test_the_page_says_that_the_emulator_has_stopped(statsig, page, target, violations):
    send(statsig, target, PURCHASE)
    page.goto(statsig.url)
    expect(total(page, "event")).to_have_text("1")

    statsig.close()

    expect(page.get_by_text("The emulator has stopped")).to_be_visible()
    expect(total(page, "event")).to_have_text("1")
    # The browser logs an error for each request to an address that does not answer.
    page.close()
    violations[:] = [each for each in violations if "Failed to load resource" not in each]
