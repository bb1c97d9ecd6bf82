"""The command line: a verb is a function of the same name, and only this room prints or exits.

verbs         what can be said, with options and examples
answers       bars, JSON, errors and exit codes
member_table  the members of a training while they are trained
words         results in words
"""

from kiyome.cli.output import visible
from kiyome.cli.verbs import VERBS, app, main

__all__ = ["VERBS", "app", "main", "visible"]
