"""What a change of a setting would have done to the meta loss: its hypergradient, beside the influences of samples."""
