"""People correct labels in the browser."""
