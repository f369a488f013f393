"""Texts of a column: as they are read, and as token ids."""
