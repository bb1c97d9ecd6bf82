"""What lies on disk: tables, predictions, runs; their checks, read and write."""
