"""Trying values of parameters on regions of an image: which ones, where, and what they change."""
