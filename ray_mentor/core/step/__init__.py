"""One training step, piece by piece: batch, features, weights, the student's step, the record of it."""
