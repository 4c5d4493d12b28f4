"""Preparing on another engine than this target: Arrow batches in, a table of requests out, ready to be sent."""

from target_statsig.engine.prepare import prepare_batches

__all__ = ["prepare_batches"]
