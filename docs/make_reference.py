"""Write docs/reference.md from the front door and the command line: python docs/make_reference.py."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import kiyome
from kiyome.cli import VERBS

REFERENCE = Path(__file__).parent / "reference.md"


def reference() -> str:
    """The whole page."""
    return "\n".join([*_head(), *_commands(), *_names()]) + "\n"


def _head() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Made from the source by `python docs/make_reference.py`; a test says when it is out of date."
    yield "Words are explained in the [glossary](glossary.md)."
    yield ""


def _commands() -> Iterator[str]:
    yield "## Command line"
    yield ""
    yield "Exit codes: 0 done; 1 a defect of ours; 2 the input or the command must change; 75 stopped by"
    yield "`--stop-after`, the same command goes on; 130 stopped."
    yield "`kiyome VERB --help` lists the options."
    yield ""
    for name, verb in VERBS.items():
        yield f"### kiyome {name}"
        yield ""
        yield from _quoted(inspect.getdoc(verb) or "")


def _names() -> Iterator[str]:
    yield "## Python"
    yield ""
    for name in kiyome.__all__:
        thing = getattr(kiyome, name)
        yield f"### kiyome.{name}"
        yield ""
        if inspect.isfunction(thing):
            yield from _quoted(f"{name}{_signature(thing)}", "python")
        yield from _quoted(inspect.getdoc(thing) or "")


def _signature(function: object) -> str:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    star = any(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    before = [str(p.replace(annotation=p.empty)) for p in parameters if p.kind is not p.KEYWORD_ONLY]
    after = [str(p.replace(annotation=p.empty)) for p in parameters if p.kind is p.KEYWORD_ONLY]
    hidden = ("on_progress", "on_event", "on_note")  # listeners: their default is a function with an address
    shown = [*before, *(["*"] if star else []), *(text for text in after if not text.startswith(hidden))]
    return f"({', '.join(shown)})"


def _quoted(text: str, language: str = "text") -> Iterator[str]:
    yield f"```{language}"
    yield text
    yield "```"
    yield ""


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
