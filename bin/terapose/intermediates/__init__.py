"""What stages leave in the store, read by those that follow."""
