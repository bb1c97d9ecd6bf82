"""Which row of the table a photo's name in a stranger's file means. N rows.

Other tools rename what they take: a folder is put before it, only the last part is left, the ending goes.
Names are compared as text and never opened.
"""

from collections.abc import Callable, Iterable, Sequence
from posixpath import splitext

AMBIGUOUS = -1
"""Stands for a name that several rows have."""

FindRow = Callable[[str], int | None]


def row_finder(image_ids: Sequence[str], photo_names: Sequence[str], *, endings: bool = True) -> FindRow:
    """A function from a name to its row; None where no row, or more than one, can be meant.

    A name means a row if it is its id or path; else if one of them ends in the other, in whole parts between
    slashes. So ``default/cat/1.jpg`` and ``1.jpg`` mean ``cat/1.jpg``, but ``dog/1.jpg`` does not.

    Parameters
    ----------
    image_ids, photo_names : sequence of str
        (N,) ids, and paths as text.
    endings : bool
        Whether names have the ending of their file; without, ``cat/1`` means ``cat/1.jpg``.

    Examples
    --------
    >>> find_row = row_finder(["a", "b"], ["cat/1.jpg", "cat/2.jpg"])
    >>> [find_row(name) for name in ("b", "data/cat/1.jpg", "2.jpg", "dog/1.jpg", "../../etc/passwd")]
    [1, 0, 1, None, None]
    >>> row_finder(["a", "b"], ["cat/1.jpg", "cat/2.jpg"], endings=False)("cat/2")
    1
    """
    exact = _index(zip(image_ids, range(len(image_ids)), strict=True))
    whole = _index(
        (name, row)
        for names in (image_ids, photo_names)
        for row, name in enumerate(names)
        for name in _forms(name, endings=endings)
    )
    parts = _index((tail, row) for name, row in whole.items() if row != AMBIGUOUS for tail in _tails(name))

    def find_row(name: str) -> int | None:
        if name in exact:
            return exact[name]
        name = name if name in whole else name.replace("\\", "/")
        row = next((whole[tail] for tail in (name, *_tails(name)) if tail in whole), None)
        row = parts.get(name) if row is None else row
        return None if row == AMBIGUOUS else row

    return find_row


def without_ending(name: str) -> str:
    """The name without its last ending.

    >>> without_ending("cat.dir/1.jpg"), without_ending("cat.dir/1"), without_ending("..")
    ('cat.dir/1', 'cat.dir/1', '..')
    """
    return splitext(name)[0]


def _forms(name: str, *, endings: bool) -> tuple[str, ...]:
    return (name,) if endings else tuple({name, without_ending(name)})


def _tails(name: str) -> list[str]:
    """What is left when folders are taken away from the left, longest first."""
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(1, len(parts)) if parts[start]]


def _index(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for name, row in pairs:
        rows[name] = row if rows.get(name, row) == row else AMBIGUOUS
    return rows
