"""One file a peer: the same student, batch, meta batch and mentor, one iteration each in that library's own way."""
