"""What people decided, as records: one event a row of the log, checked before any database sees it.

Every check is made here, in text and numbers, so that SQLite and PostgreSQL are handed only what both keep
alike: neither NUL nor half a Unicode character, no number that JSON does not know.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from kiyome.errors import InputError

LOOKS_LIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјорсухԁһԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧονυ",
    "ABESIJKMHOPCTYXaesijopcyxdhqwABEZHIKMNOPTYXovu",
)
"""Letters that most typefaces draw alike."""


def composed(name: str) -> str:
    r"""The name in NFC: one keyboard sends an accent with its letter, another one after it.

    >>> composed("Rene\u0301") == "Ren\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def reviewer_name(name: str) -> str:
    r"""The name as it is kept.

    Raises
    ------
    InputError
        When something in it cannot be seen, so that two people would have one name.

    Examples
    --------
    >>> reviewer_name("Ann\u200b")
    Traceback (most recent call last):
    kiyome.errors.InputError: A reviewer's name holds a character that cannot be seen. Came: 'Ann\u200b'. ...
    """
    if any(unicodedata.category(character) in ("Cc", "Cf") for character in name):
        raise InputError(
            "A reviewer's name holds a character that cannot be seen.",
            came=ascii(name[:80]),
            remedy="Leave it out: control and format characters make two names look like one.",
        )
    return composed(name)


def look_alikes(name: str, others: Iterable[str]) -> list[str]:
    """The other names that read like this one.

    >>> look_alikes("Ann", ["ann", "Аnn", "Ann", "Anna"])  # the second begins with a Cyrillic letter
    ['ann', 'Аnn']
    """
    return [other for other in others if other != name and _drawn(other) == _drawn(name)]


def _drawn(name: str) -> str:
    """What names have in common that look the same."""
    compatible = unicodedata.normalize("NFKC", name).translate(LOOKS_LIKE).casefold()
    visible = (each for each in compatible if unicodedata.category(each) not in ("Cc", "Cf"))
    return " ".join("".join(visible).split())


Verdict = Literal["keep", "relabel", "drop", "unsure"]
Kind = Literal["decide", "undo", "redo", "import"]

MOST_REVIEWER, MOST_KEY, MOST_TEXT = 64, 200, 2048
"""Characters of a name and of a key; bytes of an image id: PostgreSQL indexes no more than 2,704 in all."""
MOST_SEEN = 16_384
MOST_NUMBER = 2**53
"""Up to here JSON, browsers and both databases count alike."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """What a caller wants written about one row."""

    image_id: str
    version: int
    """The sequence that the caller saw: 0 where this reviewer has written nothing about the row."""
    verdict: Verdict | None
    """None: nothing stands any more, after an undo."""
    label: str | None
    """The name of a class, with `relabel` only."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One row of the log: who decided what about a row, when, having seen what."""

    number: int
    """Its place in the whole store, from 1, without gaps: the order of commit."""
    batch: str
    """The key of the act that it was written with."""
    kind: Kind
    undoes: str | None
    """The batch that an undo takes back, or that a redo brings back."""
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
    """What the reviewer had before the eyes."""
    milliseconds: int | None
    decided_at: str
    """By the clock of the machine that wrote it: UTC, ISO 8601."""


Line = tuple[str, Event]
"""A review, told by the fingerprint of its table, and one of its events: a line of the journal."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Acts that are written together or not at all; refused when made, if a store could not keep them.

    >>> act = Act(image_id="a.png", version=0, verdict="relabel", label="cat")
    >>> batch = Batch(key="k1", reviewer="Ann", kind="decide", undoes=None, run="runs/x", table_content="",
    ...               seen={"view": "one"}, milliseconds=700, acts=(act,))
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
    acts: tuple[Act, ...]

    def __post_init__(self) -> None:
        _refuse_name("A reviewer's name", self.reviewer, most=MOST_REVIEWER)
        _refuse_name("The key of an act", self.key, most=MOST_KEY)
        refuse_text("The name of a run", self.run)
        refuse_text("The digest of a table", self.table_content)
        _refuse_seen(self.seen)
        if self.milliseconds is not None:
            _refuse_number("Milliseconds", self.milliseconds)
        _refuse_kind(self.kind, self.undoes)
        if not self.acts:
            raise InputError("An act is about a row or more.", came="none", remedy="Name the rows.")
        for act in self.acts:
            _refuse_act(act, self.kind)
        if len({act.image_id for act in self.acts}) < len(self.acts):
            raise InputError(
                "An act decides once about a row.", came="a row that is named twice", remedy="Name it once."
            )

    @classmethod
    def of(cls, events: Sequence[Event]) -> "Batch":
        """The batch that these events were written as."""
        first = events[0]
        return cls(
            key=first.batch,
            **{name: getattr(first, name) for name in _SHARED},
            acts=tuple(
                Act(image_id=e.image_id, version=e.sequence - 1, verdict=e.verdict, label=e.label)
                for e in events
            ),
        )

    def events(self, *, number: int, decided_at: str) -> list[Event]:
        """The events to write, the first of them with this number."""
        shared = {name: getattr(self, name) for name in _SHARED} | {"seen": dict(self.seen)}
        return [
            Event(
                number=number + place,
                batch=self.key,
                image_id=act.image_id,
                sequence=act.version + 1,
                verdict=act.verdict,
                label=act.label,
                decided_at=decided_at,
                **shared,
            )
            for place, act in enumerate(self.acts)
        ]


_SHARED = ("reviewer", "kind", "undoes", "run", "table_content", "seen", "milliseconds")


def refuse_unknown_labels(acts: Sequence[Act], class_names: Sequence[str]) -> None:
    """Refuse a label that is not the name of a class."""
    unknown = {act.label for act in acts if act.label is not None} - set(class_names)
    if unknown:
        raise InputError(
            "A label is the name of a class.",
            came=_shown(min(unknown)),
            remedy=f"Choose one of {', '.join(map(_shown, class_names[:10]))}"
            f"{', ..' if len(class_names) > 10 else ''}.",
        )


def _refuse_kind(kind: str, undoes: str | None) -> None:
    if kind not in get_args(Kind):
        raise InputError(
            "An act is of a known kind.", came=_shown(kind), remedy=f"Use {', '.join(get_args(Kind))}."
        )
    if undoes is not None:
        _refuse_name("The batch that is undone", undoes, most=MOST_KEY)
    if (undoes is None) == (kind in ("undo", "redo")):
        raise InputError(
            "An undo and a redo, and nothing else, name the batch that they are about.",
            came=f"{kind} of {_shown(undoes)}",
            remedy="Give the key of that batch as undoes.",
        )


def _refuse_act(act: Act, kind: str) -> None:
    refuse_text("An image id", act.image_id)
    if not act.image_id:
        raise InputError("An image id is not empty.", came="''", remedy="Name the row.")
    _refuse_number("The version of a row", act.version)
    nothing_stands = act.verdict is None and kind in ("undo", "redo")
    if not nothing_stands and act.verdict not in get_args(Verdict):
        raise InputError(
            "A verdict is keep, relabel, drop or unsure; only an undo or a redo may leave none.",
            came=_shown(act.verdict),
            remedy="Choose one of them.",
        )
    if (act.label is not None) != (act.verdict == "relabel"):
        raise InputError(
            "A label comes with the verdict relabel, and only with it.",
            came=f"{_shown(act.verdict)} with label {_shown(act.label)}",
            remedy="Name a class with relabel; leave the label out otherwise.",
        )
    if act.label is not None:
        refuse_text("A label", act.label)


def _refuse_number(what: str, number: object) -> None:
    if type(number) is not int or not 0 <= number < MOST_NUMBER:
        raise InputError(
            f"{what}: a whole number of at least 0 and below 2^53.", came=_shown(number), remedy="Correct it."
        )


def _refuse_name(what: str, name: object, *, most: int) -> None:
    """Names stand in lines and lists: no control characters or line ends, no blanks around them."""
    refuse_text(what, name)
    name = str(name)
    odd = any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name)
    if not 1 <= len(name) <= most or odd or name != name.strip():
        raise InputError(
            f"{what} has 1 to {most} characters, no control character, and no blank around it.",
            came=_shown(name),
            remedy="Choose a plain one.",
        )


def refuse_text(what: str, text: object) -> None:
    """Refuse what is no text, or text that one of the databases would not keep as it is."""
    if not _is_sound_text(text) or len(str(text).encode()) > MOST_TEXT:
        raise InputError(
            f"{what} is valid Unicode without NUL, {MOST_TEXT:,} bytes in UTF-8 at most.",
            came=_shown(text),
            remedy="Correct or shorten it.",
        )


def _is_sound_text(text: object) -> bool:
    return isinstance(text, str) and "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _refuse_seen(seen: object) -> None:
    try:
        sound = (
            isinstance(seen, Mapping)
            and len(text := json.dumps(dict(seen), allow_nan=False)) <= MOST_SEEN
            and json.loads(text) == seen
            and all(_is_sound_text(part) for part in _texts(seen))
        )
    except (TypeError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise InputError(
            f"What was seen is an object as JSON knows it: finite numbers, valid Unicode without NUL, "
            f"{MOST_SEEN:,} characters at most.",
            came=_shown(seen),
            remedy="Leave out what is not.",
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
    """A value in a line of text, whatever it holds, and not too much of it."""
    try:
        text = ascii(value)
    except RecursionError:
        text = "something nested too deeply"
    return text if len(text) <= 80 else f"{text[:80]}.."
