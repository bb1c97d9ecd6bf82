"""Which photo of the table a name in a stranger's file means. N rows.

Tools rename what they take: a folder is put before it, only the last part is left, the ending or its case
changes. Names are compared as text and never opened; a loose way counts only where it is one to one.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import splitext
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

UNKNOWN, AMBIGUOUS = -1, -2
"""Instead of a row: no row has the name; several have it, or several names mean one row."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NameMatches:
    """The row of each name, and the ways that led there."""

    rows: NDArray[np.intp]
    """(M,) a row, or `UNKNOWN` or `AMBIGUOUS`."""
    counts: Mapping[str, int]
    """How many names were matched by each way but the exact one, by its description."""

    def note(self, what: str = "names", others: str = "the table") -> str | None:
        """A sentence on the names that were not matched exactly with others; None where all were."""
        if not self.counts:
            return None
        ways = ", ".join(f"{count:,} by {way}" for way, count in self.counts.items())
        number = sum(self.counts.values())
        return f"{number:,} {what} differ from those of {others} and were matched: {ways}."


class Form(NamedTuple):
    """A form in which names are compared."""

    way: str
    """What it does not mind."""
    name: Callable[[str], str]
    known: Callable[[str], str]


def match_names(names: Sequence[str], *known: Sequence[str], one_to_one: bool = True) -> NameMatches:
    """Match M names with N rows, each of which may be known by several names, such as its id and its path.

    A name means the row of just that name; else the one row of the same name but for separators and spaces,
    then case and Unicode form, then the ending, then leading zeros; each time also where one of both names
    ends in the other, in whole parts between slashes. So ``/data/cat/1.JPG`` and ``1`` mean ``cat/1.jpg``,
    ``dog/1.jpg`` does not.

    Parameters
    ----------
    names : sequence of str
        (M,) as the file has them; a repeated name means the same row again.
    known : sequences of str
        (N,) names of the rows; an exact name means a row of the first of them.
    one_to_one : bool
        Whether two different names that loosely mean one row are both `AMBIGUOUS`.

    Returns
    -------
    NameMatches
        A row for each name, and how they were found.

    Examples
    --------
    >>> ids, paths = ["a", "b", "c"], ["cat/1.jpg", "x.jpg", "cat/2.jpg"]
    >>> match = match_names(["b", "/data/cat/1.JPG", "2", "dog/2"], ids, paths)
    >>> match.rows.tolist(), match.counts
    ([1, 0, 2, -1], {'case and folder': 1, 'ending and folder': 1})
    """
    exact: dict[str, int] = {}
    for texts in reversed(known):
        exact |= _index(zip(texts, range(len(texts)), strict=True))
    row_of = {name: exact[name] for name in names if name in exact}
    missing = list(dict.fromkeys(name for name in names if name not in row_of))
    way_of: dict[str, str] = {}
    for form in FORMS:
        if not missing:
            break
        for way, found in _loose_matches(form, missing, known):
            if one_to_one:
                _refuse_shared(found, taken=set(row_of.values()))
            new = {name: row for name, row in found.items() if name not in row_of}
            row_of |= new
            way_of |= {name: way for name, row in new.items() if row >= 0}
        missing = [name for name in missing if name not in row_of]
    counts = Counter(way_of[name] for name in names if name in way_of)
    rows = np.fromiter((row_of.get(name, UNKNOWN) for name in names), np.intp, len(names))
    return NameMatches(rows=rows, counts=dict(counts))


def _loose_matches(
    form: Form, names: Sequence[str], known: Sequence[Sequence[str]]
) -> Iterator[tuple[str, dict[str, int]]]:
    """Rows of names that have the same form as a known one; then those where one form ends in the other."""
    whole = _index((form.known(text), row) for texts in known for row, text in enumerate(texts))
    same = {name: whole[form.name(name)] for name in names if form.name(name) in whole}
    yield form.way, same
    ends = _index((end, row) for text, row in whole.items() if row >= 0 for end in _ends(text))
    by_end = {}
    for name in names:
        if name not in same:
            text = form.name(name)
            row = next((whole[end] for end in _ends(text) if end in whole), ends.get(text))
            if row is not None:
                by_end[name] = row
    yield FOLDER if form.way == SEPARATOR else f"{form.way} and {FOLDER}", by_end


def _refuse_shared(found: dict[str, int], *, taken: set[int]) -> None:
    """Make names ambiguous that mean the same row as another name."""
    counts = Counter(found.values())
    for name, row in found.items():
        if counts[row] > 1 or row in taken:
            found[name] = AMBIGUOUS


def _index(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The row of each text; `AMBIGUOUS` where several rows have it."""
    rows: dict[str, int] = {}
    for text, row in pairs:
        rows[text] = row if rows.get(text, row) == row else AMBIGUOUS
    return rows


def spelled(name: str) -> str:
    r"""Return a name with forward slashes, without a scheme, a drive, leading dots or spaces around it.

    >>> spelled("file:///data/my%20cat/1.jpg"), spelled(r".\cat\1.jpg "), spelled("C:/cat/1.jpg")
    ('data/my cat/1.jpg', 'cat/1.jpg', 'cat/1.jpg')
    """
    name = name.strip()
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    name = name.replace("\\", "/")
    drive, colon, rest = name.partition(":")
    name = rest if colon and len(drive) == 1 else name
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def folded(name: str) -> str:
    """Return a name as a file system sees it that minds neither case nor Unicode form."""
    return unicodedata.normalize("NFKC", spelled(name)).casefold()


def without_ending(name: str) -> str:
    """Return a name without its last ending.

    >>> without_ending("cat.dir/1.jpg"), without_ending("cat.dir/1"), without_ending("..")
    ('cat.dir/1', 'cat.dir/1', '..')
    """
    return splitext(name)[0]


def without_suffixes(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return each name without its suffix, and that suffix, such as ``_flip``; empty unless each has all.

    >>> without_suffixes(["a_0.jpg", "a_flip.jpg", "b_0.jpg", "b_flip.jpg"])["a_flip.jpg"]
    ('a.jpg', '_flip')
    >>> without_suffixes(["a_0.jpg", "a_flip.jpg", "b_0.jpg"])
    {}
    """
    parts = {}
    for name in names:
        stem, ending = splitext(name)
        match = re.fullmatch(r"(.*[^/])([-_.][A-Za-z0-9]+)", stem)
        if match is None:
            return {}
        parts[name] = match[1] + ending, match[2]
    bases, suffixes = (set(each) for each in zip(*parts.values(), strict=True)) if parts else (set(), set())
    return parts if len(set(parts.values())) == len(bases) * len(suffixes) else {}


def _ends(name: str) -> list[str]:
    """What is left as folders are taken away from the left, longest first."""
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(1, len(parts)) if parts[start]]


def _stem(name: str) -> str:
    return without_ending(folded(name))


def _number(name: str) -> str:
    return re.sub(r"(^|/)0+(?=\d+$)", r"\1", _stem(name))


SEPARATOR, FOLDER, ENDING = "separator", "folder", "ending"
FORMS = (
    Form(SEPARATOR, spelled, spelled),
    Form("case", folded, folded),
    Form(ENDING, folded, _stem),
    Form(ENDING, _stem, _stem),
    Form("leading zeros", _number, _number),
)
