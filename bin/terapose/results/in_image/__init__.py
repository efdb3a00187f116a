"""Label images of results, copied into the image that they are of."""
