"""Records become Statsig events, and events are delivered."""
