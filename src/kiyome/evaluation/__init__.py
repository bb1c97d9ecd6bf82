"""What a number is worth: intervals, never a bare share."""
