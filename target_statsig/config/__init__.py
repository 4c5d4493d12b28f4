"""The configuration: declared in `schema`, read by `parse`, given to streams by `routing`."""
