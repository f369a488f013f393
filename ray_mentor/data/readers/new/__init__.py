"""Inputs that a trained student has not seen: of any format, streamed, with labels only where they are asked for."""
