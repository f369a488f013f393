"""A run's weighting as a rule that costs nothing: what its ledger says, the smallest table that says it, how well."""
