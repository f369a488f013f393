"""Where meta batches come from, and where trusted samples go."""
