"""Which labels of a run are wrong, and how many: what its ledger says, samples in blocks, so that any ledger fits."""
