"""Mentors that are taught by supervision, on rows of which the right sample weight is known."""
