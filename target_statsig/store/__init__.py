"""The store: what a run remembers for the next one. Only this package speaks SQL.

It holds the members, deliveries, locks and request times of each Statsig project. A run that needs no store does not
import it.
"""
