"""Programs beside the workflow."""
