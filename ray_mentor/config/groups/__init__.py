"""Settings by what they are about: a frozen dataclass each, checked when made."""
