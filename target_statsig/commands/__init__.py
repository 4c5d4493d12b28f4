"""A run, a dry run, and the commands beside them: check, replay, apply-held and others."""
