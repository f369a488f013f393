"""What a run is, without Ray: its folder, log, checkpoints and outcome."""
