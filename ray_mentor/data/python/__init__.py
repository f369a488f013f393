"""Data that are given in Python, of whatever kind, as samples."""
