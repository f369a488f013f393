"""A learned curriculum for a training loop of one's own."""
