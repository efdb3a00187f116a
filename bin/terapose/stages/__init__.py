"""The stages: one module each, one process of the workflow, one command."""
