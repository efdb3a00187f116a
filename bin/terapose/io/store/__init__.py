"""The store: arrays and tables between stages."""
