"""The work: what is planned, divided into tasks, run, and repaired."""
