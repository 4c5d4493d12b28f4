"""Preparing on another engine than this target: Arrow batches in, a table of requests out, ready to be sent."""
