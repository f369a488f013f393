"""From what a run wrote to what a person reads."""
