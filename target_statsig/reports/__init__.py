"""What a run tells: counts, tables, progress, and how counts and names are written."""
