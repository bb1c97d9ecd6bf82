"""Everything that kiyome raises on purpose.

KiyomeError                   says what is wrong, what is expected, and what to do
├── InputError                the caller's data or arguments; also a ValueError
│   └── TableError            a table of photos and labels: names file, row and remedy
├── UnreadablePhoto           one photo cannot be decoded; sets its row aside, never ends a run
├── StaleArtifact             a stored file belongs to another table, or was changed on disk
├── RunBusy                   another process holds the run folder
├── WorkerLost                a process or machine that did a unit of work died, again and again
├── DecisionConflict          someone decided about the row since it was shown
├── StoreUnavailable          the store of decisions cannot be read or written now
├── TimeLimitReached          a training that stopped when it was told to; the same call goes on
└── MissingExtra              an optional package is absent; also an ImportError
"""

import copy
import copyreg
import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

MOST_SHOWN = 1_000
"""Characters of each part of a message: it may hold a file's whole content."""
MOST_LISTED = 50
"""Known names that a message lists in full."""


class KiyomeError(Exception):
    """An error in three parts: what is wrong, what is expected, what to do; very long parts are cut.

    >>> print(KiyomeError("Row 12 has label 7.", expected="Labels lie in 0..4.", remedy="Correct row 12."))
    Row 12 has label 7. Labels lie in 0..4. Correct row 12.
    """

    def __init__(self, problem: str, *, expected: str = "", remedy: str) -> None:
        problem, expected, remedy = map(shortened, (problem, expected, remedy))
        super().__init__(" ".join(filter(None, (problem, expected, remedy))))
        self.problem, self.expected, self.remedy = problem, expected, remedy

    def __reduce__(self) -> tuple[Any, ...]:
        """Whole when it comes out of another process: made without the arguments, which differ by class."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def of(self, whose: str) -> Self:
        """Return the same error, which names whose it is.

        >>> print(KiyomeError("label 7 is unknown.", remedy="Correct it.").of("row 12"))
        row 12: label 7 is unknown. Correct it.
        """
        named = copy.copy(self)
        KiyomeError.__init__(named, f"{whose}: {self.problem}", expected=self.expected, remedy=self.remedy)
        return named


class InputError(KiyomeError, ValueError):
    """Data or arguments that break a stated condition."""


class TableError(InputError):
    """A table of photos and labels that cannot be used as it is."""


class UnreadablePhoto(KiyomeError):
    """A photo that cannot be decoded; `reason` says why in a few words.

    >>> print(UnreadablePhoto("no such file", remedy="Leave its row out."))
    The photo is unreadable: no such file. Leave its row out.
    """

    def __init__(self, reason: str, *, expected: str = "", remedy: str) -> None:
        super().__init__(f"The photo is unreadable: {reason}.", expected=expected, remedy=remedy)
        self.reason = reason


class StaleArtifact(KiyomeError):
    """A stored file that does not belong to the table or the run at hand."""


class RunBusy(KiyomeError):
    """A run folder that another living process is writing."""


class WorkerLost(KiyomeError):
    """A unit of work whose worker died as often as it was tried."""


class DecisionConflict(KiyomeError):
    """A decision about rows of which another one was made since they were shown.

    `current` holds the newest event of each of these rows, as far as it has one.
    """

    def __init__(self, problem: str, *, current: Iterable[Any] = (), **parts: Any) -> None:
        super().__init__(problem, **parts)
        self.current = list(current)


class StoreUnavailable(KiyomeError):
    """A store of decisions that cannot be read or written now: a full disk, a server that is away."""


class TimeLimitReached(KiyomeError):
    """A training that stopped at its time limit after a whole epoch; nothing is wrong, nothing is lost.

    `folder` is the run folder; the same call goes on in it, to the result of one that was never stopped.
    """

    def __init__(self, problem: str, *, remedy: str, folder: Path) -> None:
        super().__init__(problem, remedy=remedy)
        self.folder = folder


class MissingExtra(KiyomeError, ImportError):
    """An optional package that is not installed; `remedy` holds the exact pip line."""

    def __init__(self, need: str, *, extra: str) -> None:
        super().__init__(
            f"{need} needs the extra '{extra}', which is not installed.",
            remedy=f"Run: pip install 'kiyome[{extra}]'",
        )


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """Return a text of about `most` characters at most: its beginning, and its end, which often says where.

    >>> shortened("x" * 1_000_000 + " in line 3", most=24)
    'xxxxxxxxxxxx ... xx in line 3'
    """
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:].lstrip()}"


def choose(kind: str, name: object, known: Collection[str]) -> str:
    """Return the name, which is one of the known ones of its kind.

    Raises
    ------
    InputError
        On another name: with the known ones, and the one that was probably meant.

    >>> choose("loss", "symetric", ["cross_entropy", "symmetric_cross_entropy"])
    Traceback (most recent call last):
        ...
    kiyome.errors.InputError: The loss 'symetric' is unknown. Expected one of cross_entropy, \
symmetric_cross_entropy. Did you mean symmetric_cross_entropy?
    """
    if isinstance(name, str) and name in known:
        return name
    raise InputError(
        f"The {kind} {name!r} is unknown.",
        expected=f"Expected one of {_listed(str(name), list(known))}.",
        remedy=nearest(str(name), known),
    )


def _listed(name: str, known: list[str]) -> str:
    if len(known) <= MOST_LISTED:
        return ", ".join(known)
    near = get_close_matches(name, known, n=5, cutoff=0.5) or known[:5]
    return f"{len(known):,} names, such as {', '.join(near)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the remedy for a name that is not among the known ones; its beginning or one word is enough.

    >>> nearest("symetric", ["cross_entropy", "symmetric_cross_entropy"])
    'Did you mean symmetric_cross_entropy?'
    """
    names, name = sorted(known, key=len), name.lower()
    if not names:
        return "Leave it out."
    begun = [each for each in names if name and each.lower().startswith(name)]
    # of names that share a word the shortest has it
    forms = {form.lower(): each for each in reversed(names) for form in (*re.split(r"[\W_]+", each), each)}
    close = begun or [forms[form] for form in get_close_matches(name, forms, n=1)]
    return f"Did you mean {close[0]}?" if close else "Choose one of these."
