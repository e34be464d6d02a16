"""Programs for those who work on this: measurements, and what sets a test machine up."""
