"""A group that goes against what is easy to see."""
