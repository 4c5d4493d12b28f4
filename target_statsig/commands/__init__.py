"""The commands beside a run: check, replay, apply-held and others."""
