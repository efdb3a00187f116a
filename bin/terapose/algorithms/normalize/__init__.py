"""Intensities: percentiles, tiles, several channels."""
