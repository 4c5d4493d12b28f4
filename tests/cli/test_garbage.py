"""How Python looks for garbage."""

from __future__ import annotations

import gc

from target_statsig.events.workers import collect_seldom


def test_a_run_looks_for_garbage_which_a_start_does_not(monkeypatch):
    monkeypatch.setattr(gc, "freeze", lambda: None)
    thresholds = gc.get_threshold()
    gc.disable()
    try:
        collect_seldom()
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.set_threshold(*thresholds)
