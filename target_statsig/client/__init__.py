"""Statsig's two APIs over HTTP: requests, retries, rate limits, and the meaning of answers."""
