"""Flows: following them, and how wrong they are."""
