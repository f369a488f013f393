"""The trained student: its files in a run's folder, and what it says of inputs."""
