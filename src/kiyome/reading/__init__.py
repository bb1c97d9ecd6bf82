"""A stranger's table of photos and labels becomes ours, step by step."""
