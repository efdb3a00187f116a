"""Training of the small U-Nets: data, crops, loop, scores, model card."""
