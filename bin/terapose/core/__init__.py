"""Data models that everything else is built on."""
