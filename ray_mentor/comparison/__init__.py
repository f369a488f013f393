"""One comparison from its settings: methods, runs, terminal, files."""
