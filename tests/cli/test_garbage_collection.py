"""The command turns garbage collection off while it starts, and on when it runs."""

from __future__ import annotations

import gc

from target_statsig.events.workers import collect_seldom


def test_a_run_turns_garbage_collection_on_again(monkeypatch):
    monkeypatch.setattr(gc, "freeze", lambda: None)
    thresholds = gc.get_threshold()
    gc.disable()
    try:
        collect_seldom()
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.set_threshold(*thresholds)
