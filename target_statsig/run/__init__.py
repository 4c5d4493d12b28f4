"""One run: what its streams share, the streams, and the order of its end."""
