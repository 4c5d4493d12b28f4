"""The configuration: `load` reads it, `checks` finds errors, `parse` makes values of it."""
