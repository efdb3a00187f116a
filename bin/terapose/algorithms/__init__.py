"""Cellpose's arithmetic, on arrays in memory."""
