"""What is handed over: laid out, recorded, verified."""
