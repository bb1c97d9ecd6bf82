"""Pages to look at rather than read; each one self-contained HTML file."""

from kiyome.report.find_report import FindReport, Repeats, write_report

__all__ = ["FindReport", "Repeats", "write_report"]
