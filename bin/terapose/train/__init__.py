"""Training of the small U-Nets."""
