"""Mapping records to items of Statsig's events API (events, exposures, metric values), and delivering them."""
