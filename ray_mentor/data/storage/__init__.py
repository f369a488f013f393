"""Where samples lie: in memory, in mapped files, where they are stored."""
