"""Singer target for Statsig: any tap's records become Statsig events, exposures, metrics and segment members."""

__version__ = "0.1.0"
