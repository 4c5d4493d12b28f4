"""Statsig over HTTP: how to ask, how often, and what an answer means.

Nothing here knows a Singer message, a record or a store.
"""
