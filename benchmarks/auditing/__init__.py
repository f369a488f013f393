"""Ways to find wrong labels, side by side on the same data."""
