"""Files: images that are read, the store, what is written for users."""
