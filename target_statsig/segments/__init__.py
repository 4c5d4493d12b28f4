"""Segments: ids of members, completeness of a stream, and guarded removals."""
