"""Each sample's past losses."""
