"""The Ray that a run uses."""
