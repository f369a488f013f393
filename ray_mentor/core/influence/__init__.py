"""How the loss on the trusted set answers to each sample's weight."""
