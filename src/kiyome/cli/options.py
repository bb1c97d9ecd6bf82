"""Options that a message names: where the verb at hand lacks one, the verbs that have it."""

import re
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

CONTEXT: ContextVar[Any] = ContextVar("context", default=None)
"""The context of the command at hand, as Typer has it; None outside of one."""
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z_-]*[a-z]")
COMMAND = re.compile(r"`[^`]*`|\b(?:kiyome|pip) [a-z].*")
"""Of another verb or program, with its own options."""
MOST_VERBS = 3


def with_verbs(text: str) -> str:
    """Return a message with the verbs that have its options, as far as the one at hand has not."""
    context = CONTEXT.get()
    if context is None:
        return text
    own = options_of(context.command)
    verbs = [(name, options_of(command)) for name, command in _verbs(context.find_root().command)]
    sentences = [text]
    for option in dict.fromkeys(OPTION.findall(COMMAND.sub("", text))):
        having = [f"`kiyome {name}`" for name, options in verbs if option in options]
        if option not in own and having:
            sentences.append(f"{option} is an option of {' and '.join(having[:MOST_VERBS])}.")
    return " ".join(sentences)


def options_of(command: Any) -> set[str]:
    """Return the options of a command as they are typed."""
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def _verbs(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and the command of each verb, those of groups included."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _verbs(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command
