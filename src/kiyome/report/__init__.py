"""Pages to look at rather than read; each one self-contained HTML file."""
