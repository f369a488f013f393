"""The mentor that all workers of a run share."""
