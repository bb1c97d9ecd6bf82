"""Pages to look at rather than read; each one self-contained HTML file."""

from kiyome.report.find_report import LabelFindings, Repeats, write_report

__all__ = ["LabelFindings", "Repeats", "write_report"]
