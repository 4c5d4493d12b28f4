"""Singer target for Statsig: any tap's records become Statsig events and segment members."""

__version__ = "0.1.0"
