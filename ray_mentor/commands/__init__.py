"""The commands that are about a run: one file each, named as the command, that parses, calls and prints."""
