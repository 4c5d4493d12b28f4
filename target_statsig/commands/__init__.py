"""What the target does beside reading a tap: check, replay, apply what was held."""
