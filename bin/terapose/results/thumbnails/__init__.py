"""Thumbnails: one picture a cell."""
