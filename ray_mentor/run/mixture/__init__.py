"""A run whose samples come from several sources, in shares."""
