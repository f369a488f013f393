"""Parquet files to samples."""
