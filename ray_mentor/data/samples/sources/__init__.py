"""Samples of several named sources as one."""
