"""What a finished run has found, written into its folder for people to read."""
