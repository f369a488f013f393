"""Tables of any format to samples."""
