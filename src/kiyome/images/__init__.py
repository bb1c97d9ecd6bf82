"""From files on disk to checked, upright, eight-bit RGB photos."""
