"""What data can be stored as: one file for each format."""
