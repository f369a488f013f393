"""The mentor: the network that weighs samples, how it learns, who may ask it, what guards it."""
