"""Shares of sources in training, and what they are worth: from the influences of samples to a mixture."""
