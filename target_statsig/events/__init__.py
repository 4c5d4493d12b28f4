"""Records become items of Statsig's events API, such as events, and items are delivered."""
