"""What several seeds say together."""
