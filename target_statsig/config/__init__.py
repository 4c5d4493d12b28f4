"""The configuration: read by `load`, found right by `checks`, made into values by `parse`."""
