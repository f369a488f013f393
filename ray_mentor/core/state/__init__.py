"""What a curriculum is restored from."""
