"""The suspicious samples on a run's page."""
