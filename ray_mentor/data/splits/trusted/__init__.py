"""The trusted (meta) set: a file of its own, samples that were checked by hand, or some that are drawn."""
