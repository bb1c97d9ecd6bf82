"""Artifacts on disk: tables, predictions, runs; their checks, readers and writers."""
