"""What the pages of sweeps and comparisons share."""
