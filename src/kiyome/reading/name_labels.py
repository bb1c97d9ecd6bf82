"""Labels in the names of photos, such as `cat.0.jpg` and `Abyssinian_100.jpg`: proposed, never guessed."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from kiyome.artifacts.escapes import text_of_path
from kiyome.artifacts.table import TRAIN, UNLABELED
from kiyome.errors import InputError
from kiyome.reading.columns import SHOWN
from kiyome.reading.names import without_ending
from kiyome.reading.split_folders import Place, split_of_upper_folders

OPTION = "--label-from-name"
PATTERNS = (
    *(r"(.+)_\d+", r"(.+)-\d+", r"(.+)\.\d+", r"(.+) \(\d+\)", r"(.+) \d+", r"(\D+)\d+"),
    *(r"\d+_(.+)", r"\d+-(.+)", r"\d+ (.+)", r"[A-Za-z]+_?\d+_(.+)"),
)
"""Regular expressions for a name without its ending, whose group is the class."""
LEAST_PHOTOS, MEAN_PHOTOS = 2, 3
"""Of each class, and of all classes in the mean, for names to look like classes."""
CAMERAS = frozenset(
    (
        *("img", "dsc", "dscn", "dscf", "pxl", "mvimg", "gopr", "pict", "pic", "picture", "photo", "image"),
        *("frame", "scan", "screenshot", "vid", "wp", "sam", "p"),
    )
)
"""Words of which the names of photos are made when nobody names them."""


def label_in_name(path: str, pattern: re.Pattern[str]) -> str:
    """Return the class in the name of a photo; empty where the name is of another form."""
    match = pattern.fullmatch(without_ending(text_of_path(path.replace("\\", "/")).rpartition("/")[2]))
    return (match[1] or "") if match else ""


def compiled(pattern: str) -> re.Pattern[str]:
    """Return a regular expression with one group; InputError for any other text."""
    try:
        found = re.compile(pattern)
    except re.error as error:
        found, reason = None, str(error)
    if found is None or found.groups != 1:
        reason = reason if found is None else f"{found.groups} groups"
        raise InputError(
            f"{OPTION} {pattern!r} is no regular expression with one group ({reason}).",
            expected=r"Expected one such as '(.+)_\d+', whose group is the class in cat_12.jpg.",
            remedy="Put parentheses around the part that is the class.",
        )
    return found


def places_by_name(photos: Sequence[str], pattern: str) -> dict[str, Place]:
    r"""Return the place of each photo: its class by its name, its split by the upper folders if they tell.

    >>> places_by_name(["train/cat.0.jpg", "train/dog.1.jpg", "test/2.jpg"], r"(.+)\.\d+")["test/2.jpg"]
    Place(split='unlabeled', class_folder='')
    """
    expression = compiled(pattern)
    split_of = split_of_upper_folders(photos)
    places = {}
    for path in photos:
        label, split = label_in_name(path, expression), split_of.get(path.partition("/")[0], TRAIN)
        places[path] = Place(split if label or split == TRAIN else UNLABELED, label)
    labels = {place.class_folder for place in places.values() if place.split == TRAIN} - {""}
    if len(labels) < 2:
        proposal = proposed_labels(photos)
        raise InputError(
            f"The names of {len(photos):,} photos have {len(labels)} classes by {pattern!r}"
            f"{''.join(f', {label!r}' for label in labels)}; the first name is {photos[0]!r}."
            if photos
            else "There are no photos.",
            expected="Expected the names of photos, without their ending, to match it as a whole.",
            remedy=proposal or "Correct the regular expression, or give a table with a column of labels.",
        )
    return places


def note_on_names(pattern: str, labels: Iterable[str]) -> str:
    """Return a note on classes that are from names, with their counts."""
    counts = Counter(label for label in labels if label)
    return f"Labels are from the names of photos, by {pattern!r}: {_listed(counts)}."


def proposed_labels(photos: Sequence[str]) -> str:
    r"""Return the option that would read classes from the names of photos; empty where they look like none.

    >>> proposed_labels([f"{name}_{n}.jpg" for n in range(4) for name in ("pug", "corgi")])
    "The names may hold 2 classes: 'corgi' (4), 'pug' (4). If so, add --label-from-name '(.+)_\\d+'."
    """
    split_of = split_of_upper_folders(photos)
    names = [path for path in photos if split_of.get(path.partition("/")[0], TRAIN) == TRAIN]
    for pattern in PATTERNS:
        expression = re.compile(pattern)
        if names and not label_in_name(names[0], expression):
            continue
        counts = Counter(label_in_name(path, expression) for path in names)
        if _are_classes(counts):
            return f"The names may hold {_listed(counts)}. If so, add {OPTION} '{pattern}'."
    return ""


def _are_classes(counts: Counter[str]) -> bool:
    """Return whether labels of names look like classes: no names of cameras, dates, patients or codes."""
    if not 2 <= len(counts) <= counts.total() / MEAN_PHOTOS or min(counts.values()) < LEAST_PHOTOS:
        return False
    if set(map(str, range(len(counts)))) == counts.keys():
        return True
    words = {re.sub(r"[\W_]+", "", label).casefold() for label in counts}
    return all(words) and CAMERAS.isdisjoint(words) and not any(re.search(r"\d", word) for word in words)


def _listed(counts: Counter[str]) -> str:
    shown = ", ".join(f"{label!r} ({num:,})" for label, num in sorted(counts.items())[:SHOWN])
    return f"{len(counts):,} classes: {shown}{', ...' if len(counts) > SHOWN else ''}"
