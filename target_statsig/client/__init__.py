"""Statsig's two APIs over HTTP: requests, retries, rate limits, and what an answer means."""
