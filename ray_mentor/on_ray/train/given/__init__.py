"""What a trainer is given, in the form that a run needs, and what is refused of it before anything starts."""
