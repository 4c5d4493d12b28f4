"""Segments: who is a member, whether the tap showed everyone, and who may be removed."""
