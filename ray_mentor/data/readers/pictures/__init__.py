"""Encoded images to pixels, wherever they come from."""
