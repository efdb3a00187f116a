"""Labels that are given, in place of those that a run finds."""
