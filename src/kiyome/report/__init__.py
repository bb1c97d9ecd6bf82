"""Pages to look at rather than read; each one self-contained HTML file."""

from kiyome.report.find_report import write_report
from kiyome.report.label_findings import LabelFindings, Repeats

__all__ = ["LabelFindings", "Repeats", "write_report"]
