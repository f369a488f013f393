"""Disjoint splits, and noise with a known truth."""
