"""The page and the terminal of a sweep."""
