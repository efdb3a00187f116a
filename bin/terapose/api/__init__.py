"""What scripts call."""
