"""How a submission is written: in the form of its sample, with labels as the contest knows them.

    columns of the sample beside its ids       what is written
    none, or no sample                         labels in a column `label`
    one, of labels                             labels
    one, of numbers from 0 to 1                the probability of one class
    one for each class                         probabilities

N photos, K classes.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError
from kiyome.reading.classes import LABEL_COLUMNS, ClassMap, class_map_beside, class_map_from, plain_form
from kiyome.reading.columns import SHOWN
from kiyome.reading.photo_list import PhotoList

FORMS = ("labels", "probabilities")
NEGATIVE_AND_POSITIVE = (("0", "1"), ("false", "true"), ("no", "yes"), ("negative", "positive"))


class LabelTexts(NamedTuple):
    """One text for each of K classes, and where they are from."""

    origin: str
    """In words that follow "labels": "as in the training data"."""
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SubmissionForm:
    """The columns of a submission, and what stands in them."""

    header: tuple[str, ...]
    """All columns in order, that of the ids among them."""
    id_column: str
    label_texts: tuple[str, ...] = ()
    """K texts, one of which is written for a photo; empty where probabilities are written."""
    classes: tuple[int, ...] = ()
    """Whose probability each other column of the header holds."""
    description: str
    notes: tuple[str, ...] = ()

    def rows(self, image_ids: Sequence[str], pred_probs: NDArray[np.floating[Any]]) -> Iterator[list[str]]:
        """The header, then N rows of texts."""
        yield list(self.header)
        place = self.header.index(self.id_column)
        labels = pred_probs.argmax(axis=1)
        for image_id, label, probs in zip(image_ids, labels, pred_probs, strict=True):
            cells = [self.label_texts[label]] if self.label_texts else list(map(str, probs[[*self.classes]]))
            yield [*cells[:place], image_id, *cells[place:]]


def known_label_texts(
    class_names: Sequence[str],
    label_texts: Sequence[str] | None,
    *,
    sample: Path | None = None,
    class_map: Path | str | None = None,
) -> list[LabelTexts]:
    """The ways to write the classes of a run: its table's if known, its names, and those of a class map.

    The map is the one that was given, or else one beside the sample that knows these classes.

    Raises
    ------
    InputError
        Where the map that was given does not know these classes.
    """
    names = LabelTexts("as class names", tuple(class_names))
    written = LabelTexts("as in the training data", tuple(label_texts)) if label_texts else names
    ways = [written, names]
    beside = class_map_beside(sample) if sample and class_map is None else None
    known_map = beside if class_map is None else class_map_from(class_map)
    if known_map is None:
        return ways
    mapped = next((found for way in ways if (found := _by_map(known_map, way.texts))), [])
    if class_map is not None and not mapped:
        raise InputError(
            "A class map for a submission knows the classes of the run.",
            came=f"{_some(known_map.names)} in {known_map.origin}; the run has {_some(class_names)}",
            remedy="Name the same classes, or leave the map out.",
        )
    return [*ways, *mapped]


def _by_map(class_map: ClassMap, texts: Sequence[str]) -> list[LabelTexts]:
    """What a map has for classes that are written so; nothing where it does not know them all."""
    reading = class_map.reading(texts)
    if not reading.keys() >= set(texts):
        return []
    origin = f"as in {class_map.origin}"
    others = [{place: text for text, place in reversed(other.items())} for other in class_map.readings]
    return [LabelTexts(origin, tuple(text_of[reading[text]] for text in texts)) for text_of in others]


def submission_form(
    listed: PhotoList, ways: Sequence[LabelTexts], *, form: str | None = None
) -> SubmissionForm:
    """How the answer about these photos is written.

    Parameters
    ----------
    listed
        The photos, with the columns of their sample submission.
    ways
        As `known_label_texts` gives them, the first one preferred.
    form
        ``labels`` or ``probabilities``, where the sample leaves it open.

    Raises
    ------
    InputError
        Where the sample asks for another form, for classes or labels that the run does not have, or for the
        probability of a class that cannot be known.

    Examples
    --------
    >>> listed = PhotoList(image_ids=("b", "a"), paths=("b.jpg", "a.jpg"), id_column="id",
    ...                    columns={"id": ["b", "a"], "sick": ["0.5", "0.5"], "well": ["0.5", "0.5"]})
    >>> found = submission_form(listed, known_label_texts(("well", "sick"), ("0", "1")))
    >>> list(found.rows(listed.image_ids, np.array([[0.25, 0.75], [1, 0]])))
    [['id', 'sick', 'well'], ['b', '0.75', '0.25'], ['a', '0.0', '1.0']]
    """
    if form not in (None, *FORMS):
        raise InputError(f"A submission holds {' or '.join(FORMS)}.", came=repr(form), remedy="Name one.")
    columns = [column for column in listed.columns if column != listed.id_column]
    if len(columns) == 1:
        return _one_column(listed, columns[0], ways, form)
    classes = _classes_of(columns, ways)
    if classes is None and _is_one_a_class(listed, columns, ways):
        raise _not_one_a_class(listed, columns, ways)
    if classes is not None and form == "labels":
        raise InputError(
            "Labels stand in one column.",
            came=f"one column a class in {_file(listed)}",
            remedy="Leave --form out.",
        )
    if classes is not None:
        return _probabilities(listed, dict(zip(columns, classes, strict=True)), ways)
    if form == "probabilities":
        return _probabilities(listed, {text: k for k, text in enumerate(ways[0].texts)}, ways)
    label = next((column for column in columns if column.lower() in LABEL_COLUMNS), None)
    left_out = [column for column in columns if column != label]
    note = [f"columns of {_file(listed)} that are not written: {_some(left_out)}"] if left_out else []
    return _labels(listed, label or LABEL_COLUMNS[0], ways[0], note)


def _one_column(
    listed: PhotoList, column: str, ways: Sequence[LabelTexts], form: str | None
) -> SubmissionForm:
    """Labels, or the probability of one class, as the values of the column suggest."""
    values = sorted({text.strip() for text in listed.columns[column]} - {""})
    positive = _positive(column, ways)
    numbering = next((way for way in ways if _are_numbers(way.texts)), None)
    plain = set(map(plain_form, values))
    fitting = next((way for way in ways if plain <= set(map(plain_form, way.texts))), None)
    is_guess = form is None and _asks_for_probability(values, positive, numbering, len(ways[0].texts))
    if is_guess or form == "probabilities":
        if positive is None:
            raise _no_positive_class(listed, column, ways)
        guess = (
            f"{column!r} holds only {values[0]!r}, taken for a probability;"
            " `kiyome predict --form labels` writes labels"
        )
        return _probabilities(listed, {column: positive}, ways, [guess] if is_guess and fitting else [])
    if fitting:
        return _labels(listed, column, fitting)
    if numbering and _are_numbers(values):
        seen = f"{_some(values)} in {column!r} of {_file(listed)} is no label of the run"
        return _labels(listed, column, numbering, [seen])
    if form == "labels":
        return _labels(listed, column, ways[0])
    raise InputError(
        f"Nothing says which classes the labels in column {column!r} of {_file(listed)} mean.",
        came=f"{_some(values)}; the run has {_some(ways[0].texts)}",
        remedy="Give --class-map FILE, a JSON file such as"
        f' {{"{values[0]}": "{ways[1].texts[0]}", ...}}; or have labels as the run has them with'
        " `kiyome predict --form labels`.",
    )


def _asks_for_probability(
    values: Sequence[str], positive: int | None, numbering: LabelTexts | None, num_classes: int
) -> bool:
    """Whether a column with these values stands for a probability rather than for labels."""
    if not values or not _are_probabilities(values):
        return False
    if any(float(value) % 1 for value in values):
        return True
    if numbering is None:
        return positive is not None or num_classes == 2
    return len(values) == 1 and positive is not None


def _positive(column: str, ways: Sequence[LabelTexts]) -> int | None:
    """The class that a column of probabilities is about: the one in its name, or the second of 0 and 1."""
    for way in ways:
        if (named := _class_named(column, way.texts)) is not None:
            return named
    for way in ways:
        plain = list(map(plain_form, way.texts))
        for pair in NEGATIVE_AND_POSITIVE:
            if sorted(plain) == sorted(pair):
                return plain.index(pair[1])
    return None


def _class_named(column: str, texts: Sequence[str]) -> int | None:
    """The class whose name is the column's, or the only one at its beginning or end, as in `is_sick`."""
    name, plain = plain_form(column), list(map(plain_form, texts))
    if name in plain:
        return plain.index(name)
    ends = [k for k, text in enumerate(plain) if name.endswith(f"_{text}") or name.startswith(f"{text}_")]
    return ends[0] if len(ends) == 1 and not _are_numbers(texts) else None


def _classes_of(columns: Sequence[str], ways: Sequence[LabelTexts]) -> list[int] | None:
    """The class of each column where they are the K classes, one to one, in one way to write them."""
    found = (_one_to_one(columns, way.texts) for way in ways if len(way.texts) == len(columns))
    return next((classes for classes in found if classes), None)


def _one_to_one(columns: Sequence[str], texts: Sequence[str]) -> list[int]:
    """The text of each column, apart from case and one beginning and end that all columns share; or none."""
    if set(columns) == set(texts):
        return [texts.index(column) for column in columns]
    plain, wanted = list(map(plain_form, columns)), list(map(plain_form, texts))
    ends = [
        (plain[0][: match.start()], plain[0][match.start() + len(text) :])
        for text in wanted
        for match in re.finditer(f"(?={re.escape(text)})", plain[0])
    ]
    named = ({f"{begin}{text}{end}": k for k, text in enumerate(wanted)} for begin, end in ends)
    fitting = next((class_of for class_of in named if class_of.keys() == set(plain)), None)
    return [fitting[column] for column in plain] if fitting else []


def _is_one_a_class(listed: PhotoList, columns: Sequence[str], ways: Sequence[LabelTexts]) -> bool:
    """Whether columns stand for classes, though not one to one for those of the run."""
    named = any(_class_named(column, way.texts) is not None for way in ways for column in columns)
    return bool(columns) and (named or all(_are_probabilities(listed.columns[name]) for name in columns))


def _not_one_a_class(listed: PhotoList, columns: Sequence[str], ways: Sequence[LabelTexts]) -> InputError:
    found = [{column: _class_named(column, way.texts) for column in columns} for way in ways]
    best = max(range(len(ways)), key=lambda n: sum(k is not None for k in found[n].values()))
    without = [text for k, text in enumerate(ways[best].texts) if k not in found[best].values()]
    unknown = [column for column, k in found[best].items() if k is None]
    parts = {"no column for": without, "no class called": unknown}
    return InputError(
        f"The columns of {_file(listed)} are not the classes of the run.",
        came="; ".join(f"{what} {_some(names)}" for what, names in parts.items() if names)
        or f"columns {_some(columns)} for classes {_some(ways[best].texts)}",
        remedy="Take the sample of the contest that the run was trained for, or say what its columns mean"
        f' with --class-map FILE, a JSON file such as {{"{columns[0]}": "{ways[1].texts[0]}", ...}}.',
    )


def _no_positive_class(listed: PhotoList, column: str, ways: Sequence[LabelTexts]) -> InputError:
    names = ways[1].texts
    binary = (
        "Number the classes with --class-map FILE, a JSON file such as"
        f' {{"{names[0]}": 0, "{names[-1]}": 1}}: the one with 1 is meant then.'
    )
    several = "Give a sample with one column a class, or one whose column is named like the class."
    return InputError(
        f"Column {column!r} of {_file(listed)} is for the probability of one class, and nothing says which.",
        came=f"classes {_some(names)}",
        remedy=binary if len(names) == 2 else several,
    )


def _labels(listed: PhotoList, column: str, way: LabelTexts, notes: Sequence[str] = ()) -> SubmissionForm:
    return SubmissionForm(
        header=_header(listed, [column]),
        id_column=listed.id_column,
        label_texts=way.texts,
        description=f"labels in column {column!r}, {way.origin}: {_some(way.texts)}",
        notes=tuple(notes),
    )


def _probabilities(
    listed: PhotoList, classes: dict[str, int], ways: Sequence[LabelTexts], notes: Sequence[str] = ()
) -> SubmissionForm:
    names = ways[1].texts
    shown = [column if column == names[k] else f"{column} for {names[k]}" for column, k in classes.items()]
    [first, *others] = classes.items()
    alone = f"the probability of {names[first[1]]!r} in column {first[0]!r}"
    return SubmissionForm(
        header=_header(listed, list(classes)),
        id_column=listed.id_column,
        classes=tuple(classes.values()),
        description=f"probabilities, one column a class: {_some(shown)}" if others else alone,
        notes=tuple(notes),
    )


def _header(listed: PhotoList, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns with that of the ids, in the order of the sample."""
    order = dict.fromkeys([*listed.columns, listed.id_column, *columns])
    return tuple(column for column in order if column in {*columns, listed.id_column})


def _are_numbers(texts: Iterable[str]) -> bool:
    return all(_number(text) is not None for text in texts)


def _are_probabilities(texts: Iterable[str]) -> bool:
    numbers = map(_number, filter(None, texts))
    return all(number is not None and 0 <= number <= 1 for number in numbers)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _file(listed: PhotoList) -> str:
    return listed.source.name if listed.source else "the sample"


def _some(texts: Sequence[str]) -> str:
    """The first few, in quotes."""
    return ", ".join(map(repr, texts[:SHOWN])) + ", ..." * (len(texts) > SHOWN)
