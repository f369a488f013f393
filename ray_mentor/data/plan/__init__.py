"""In which order samples are seen."""
