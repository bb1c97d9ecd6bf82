"""Decisions as values: a decision about a row, and the event of the log that records it.

Every check is made here, in text and numbers, so that SQLite and PostgreSQL get only what both keep alike:
neither NUL nor half a Unicode character, no number that JSON cannot hold.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from kiyome.errors import InputError, choose

LOOKS_LIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјорсухԁһԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧονυ",
    "ABESIJKMHOPCTYXaesijopcyxdhqwABEZHIKMNOPTYXovu",
)
"""Letters that most typefaces render alike."""


def to_nfc(name: str) -> str:
    r"""Return the name in NFC: one keyboard sends an accent with its letter, another one after it.

    >>> to_nfc("Rene\u0301") == "Ren\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def reviewer_name(name: str) -> str:
    r"""Return the name as the log stores it; an invisible character would give two people one name.

    >>> reviewer_name("Ann\u200b")
    Traceback (most recent call last):
    kiyome.errors.InputError: The reviewer's name 'Ann\u200b' contains an invisible character. ...
    """
    if any(unicodedata.category(character) in ("Cc", "Cf") for character in name):
        raise InputError(
            f"The reviewer's name {name[:80]!a} contains an invisible character.",
            expected="Control and format characters make two names look like one.",
            remedy="Remove it from the name.",
        )
    return to_nfc(name)


def look_alikes(name: str, others: Iterable[str]) -> list[str]:
    """Return the other names that look like this one.

    >>> look_alikes("Ann", ["ann", "Аnn", "Ann", "Anna"])  # the second begins with a Cyrillic letter
    ['ann', 'Аnn']
    """
    return [other for other in others if other != name and _skeleton(other) == _skeleton(name)]


def _skeleton(name: str) -> str:
    """Return the same text for all names that look the same."""
    compatible = unicodedata.normalize("NFKC", name).translate(LOOKS_LIKE).casefold()
    visible = (each for each in compatible if unicodedata.category(each) not in ("Cc", "Cf"))
    return " ".join("".join(visible).split())


Verdict = Literal["keep", "relabel", "both", "none_of_these", "drop", "unsure"]
Kind = Literal["decide", "undo", "redo", "import"]

MAX_REVIEWER, MAX_KEY, MAX_TEXT = 64, 200, 2048
"""Characters of a name and of a key; bytes of an image id: PostgreSQL indexes no more than 2,704 in all."""
MAX_SEEN = 16_384
MAX_NUMBER = 2**53
"""Up to here JSON, browsers and both databases count alike."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The decision of one reviewer about one row, from the log to the page, files and curation.

    >>> Decision(image_id="a.png", verdict="relabel", label="cat").version
    0
    >>> Decision(image_id="a.png", verdict="keep", label="cat")
    Traceback (most recent call last):
    kiyome.errors.InputError: The verdict keep comes with the label 'cat'. Expected a label with relabel, ...
    """

    image_id: str
    """In a file of another tool: the photo's name there."""
    verdict: Verdict | None
    """None: no decision, as after an undo."""
    label: str | None = None
    """The name of a class; with relabel only."""
    reviewer: str = ""
    """Empty where nobody is named, and where several people agree."""
    version: int = 0
    """Events of this reviewer about this row so far; a new decision names the version that it replaces."""
    decided_at: str = field(default="", compare=False)
    seconds: float | None = field(default=None, compare=False)
    """Spent on it, where that was measured."""
    run: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.verdict is not None:
            choose("verdict", self.verdict, get_args(Verdict))
        if (self.label is not None) != (self.verdict == "relabel"):
            with_label = "no label" if self.label is None else f"the label {_shown(self.label)}"
            raise InputError(
                f"The verdict {self.verdict} comes with {with_label}.",
                expected="Expected a label with relabel, and with no other verdict.",
                remedy="Name a class with relabel; leave the label out otherwise.",
            )


@dataclass(frozen=True, kw_only=True)
class Event:
    """One row of the log: who decided what about a row, when, having seen what."""

    number: int
    """In the whole store, from 1, without gaps: the order of commit."""
    batch: str
    """The key that it was written with."""
    kind: Kind
    undoes: str | None
    """The batch that an undo takes back, or that a redo restores."""
    reviewer: str
    image_id: str
    sequence: int
    """1 for the first event of this reviewer about this row, then 2, and so on."""
    verdict: Verdict | None
    label: str | None
    run: str
    table_content: str
    """The digest of the table that was reviewed."""
    seen: dict[str, Any]
    """What the page showed to the reviewer."""
    milliseconds: int | None
    decided_at: str
    """By the clock of the machine that wrote it: UTC, ISO 8601."""

    @property
    def decision(self) -> Decision:
        """The decision that this event records."""
        return Decision(
            image_id=self.image_id,
            verdict=self.verdict,
            label=self.label,
            reviewer=self.reviewer,
            version=self.sequence,
            decided_at=self.decided_at,
            seconds=None if self.milliseconds is None else self.milliseconds / 1000,
            run=self.run,
        )


Line = tuple[str, Event]
"""A line of the journal: the fingerprint of a table, and one event of its review."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Decisions that are written together or not at all; an error when made, if a store could not keep them.

    >>> decision = Decision(image_id="a.png", verdict="relabel", label="cat", reviewer="Ann")
    >>> batch = Batch(key="k1", reviewer="Ann", kind="decide", undoes=None, run="runs/x", table_content="",
    ...               seen={"view": "one"}, milliseconds=700, decisions=(decision,))
    >>> event = batch.events(number=1, decided_at="2026-01-01T00:00:00+00:00")[0]
    >>> event.sequence, event.label, Batch.of([event]) == batch
    (1, 'cat', True)
    """

    key: str
    reviewer: str
    kind: Kind
    undoes: str | None
    run: str
    table_content: str
    seen: Mapping[str, Any]
    milliseconds: int | None
    decisions: tuple[Decision, ...]

    def __post_init__(self) -> None:
        _refuse_name("The reviewer's name", self.reviewer, most=MAX_REVIEWER)
        _refuse_name("The key of the batch", self.key, most=MAX_KEY)
        refuse_text("The name of the run", self.run)
        refuse_text("The digest of the table", self.table_content)
        _refuse_seen(self.seen)
        if self.milliseconds is not None:
            _refuse_number("milliseconds", self.milliseconds)
        _refuse_kind(self.kind, self.undoes)
        if not self.decisions:
            raise InputError("The batch has no decisions.", remedy="Name the rows that it is about.")
        for decision in self.decisions:
            _refuse_decision(decision, self.kind)
        if len({decision.image_id for decision in self.decisions}) < len(self.decisions):
            raise InputError("The batch has two decisions about one row.", remedy="Name each row once.")

    @classmethod
    def of(cls, events: Sequence[Event]) -> "Batch":
        """Return the batch that these events were written as."""
        first = events[0]
        return cls(
            key=first.batch,
            **{name: getattr(first, name) for name in _SHARED},
            decisions=tuple(
                Decision(
                    image_id=e.image_id,
                    verdict=e.verdict,
                    label=e.label,
                    reviewer=first.reviewer,
                    version=e.sequence - 1,
                )
                for e in events
            ),
        )

    def events(self, *, number: int, decided_at: str) -> list[Event]:
        """Return the events to write, the first of them with this number."""
        shared = {name: getattr(self, name) for name in _SHARED} | {"seen": dict(self.seen)}
        return [
            Event(
                number=number + offset,
                batch=self.key,
                image_id=decision.image_id,
                sequence=decision.version + 1,
                verdict=decision.verdict,
                label=decision.label,
                decided_at=decided_at,
                **shared,
            )
            for offset, decision in enumerate(self.decisions)
        ]


_SHARED = ("reviewer", "kind", "undoes", "run", "table_content", "seen", "milliseconds")


def refuse_unknown_labels(decisions: Sequence[Decision], class_names: Sequence[str]) -> None:
    """Raise an InputError where a label is not the name of a class."""
    unknown = {each.label for each in decisions if each.label is not None} - set(class_names)
    if unknown:
        raise InputError(
            f"The label {_shown(min(unknown))} is not a class of the table.",
            expected=f"The classes are {', '.join(map(_shown, class_names[:10]))}"
            f"{', ..' if len(class_names) > 10 else ''}.",
            remedy="Choose one of them.",
        )


def _refuse_kind(kind: str, undoes: str | None) -> None:
    choose("kind", kind, get_args(Kind))
    if undoes is not None:
        _refuse_name("The key of the batch to undo", undoes, most=MAX_KEY)
    if (undoes is None) == (kind in ("undo", "redo")):
        raise InputError(
            f"undoes is {_shown(undoes)} for the kind {kind}.",
            expected="Expected the key of a batch with undo and redo, and None otherwise.",
            remedy="Pass the key of the batch to take back or to restore.",
        )


def _refuse_decision(decision: Decision, kind: str) -> None:
    refuse_text("The image id", decision.image_id)
    if not decision.image_id:
        raise InputError("The image id is empty.", remedy="Name the row.")
    _refuse_number("the version of a row", decision.version)
    if decision.verdict is None and kind not in ("undo", "redo"):
        raise InputError(
            f"The decision about {_shown(decision.image_id)} has no verdict.",
            expected="Only an undo or a redo may leave none.",
            remedy="Choose keep, relabel, both, none_of_these, drop or unsure.",
        )
    if decision.label is not None:
        refuse_text("The label", decision.label)


def _refuse_number(what: str, number: object) -> None:
    if type(number) is not int or not 0 <= number < MAX_NUMBER:
        raise InputError(
            f"{_shown(number)} is not a valid value for {what}.",
            expected="Expected a whole number, at least 0 and below 2^53.",
            remedy="Correct it.",
        )


def _refuse_name(what: str, name: object, *, most: int) -> None:
    """Raise an InputError on a name that would break a line or a list."""
    refuse_text(what, name)
    name = str(name)
    odd = any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name)
    if not 1 <= len(name) <= most or odd or name != name.strip():
        raise InputError(
            f"{what} cannot be {_shown(name)}.",
            expected=f"Expected 1 to {most} characters, no control character, and no blank at either end.",
            remedy="Choose another one.",
        )


def refuse_text(what: str, text: object) -> None:
    """Raise an InputError on a value that is no text, or that one of the databases would change."""
    if not _is_sound_text(text) or len(str(text).encode()) > MAX_TEXT:
        raise InputError(
            f"{what} cannot be {_shown(text)}.",
            expected=f"Expected valid Unicode without NUL, at most {MAX_TEXT:,} bytes in UTF-8.",
            remedy="Correct or shorten it.",
        )


def _is_sound_text(text: object) -> bool:
    return isinstance(text, str) and "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _refuse_seen(seen: object) -> None:
    try:
        sound = (
            isinstance(seen, Mapping)
            and len(text := json.dumps(dict(seen), allow_nan=False)) <= MAX_SEEN
            and json.loads(text) == seen
            and all(_is_sound_text(part) for part in _texts(seen))
        )
    except (TypeError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise InputError(
            f"seen cannot be {_shown(seen)}.",
            expected="Expected a JSON object: finite numbers, valid Unicode without NUL, "
            f"at most {MAX_SEEN:,} characters.",
            remedy="Leave out what JSON cannot hold.",
        )


def _texts(value: object) -> Iterator[str]:
    """Every text in a JSON value, keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _shown(value: object) -> str:
    """Return a value as ASCII text, shortened, whatever it holds."""
    try:
        text = ascii(value)
    except RecursionError:
        text = "a value nested too deeply"
    return text if len(text) <= 80 else f"{text[:80]}.."
