"""Losses, and factors on losses, that go by how many training samples each class has."""
