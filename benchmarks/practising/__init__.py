"""A chain of skills with junk beside it, and what becomes of an agent that practises its tasks."""
