"""The output of a run: counts, tables, progress, and formatting of numbers and names."""
