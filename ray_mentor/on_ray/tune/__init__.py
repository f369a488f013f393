"""A sweep: Ray Tune searches the mentor's settings, each trial an ordinary run."""
