"""How methods are compared: the same means for all, chosen on some seeds and images, reported on others."""
