"""Sources of text, and what a way of mixing them makes of a small language model."""
