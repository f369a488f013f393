"""Samples: inputs, labels, ids."""
