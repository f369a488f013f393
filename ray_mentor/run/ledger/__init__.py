"""The ledger: the append-only record of what each sample was given, when, and why."""
