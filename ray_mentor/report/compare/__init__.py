"""The page, the tables and the terminal of a comparison."""
