"""Texts: what a tokenizer makes of them, where the token ids lie, and how they become what a model is fed."""
