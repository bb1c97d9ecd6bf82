"""The form of a submission: that of its sample, with labels as the contest writes them.

    columns of the sample besides its ids      content of the submission
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
from kiyome.reading.classes import ClassMap, class_map_beside, class_map_from, plain_form
from kiyome.reading.columns import some
from kiyome.reading.label_forms import LABEL_COLUMNS
from kiyome.reading.photo_list import PhotoList

FORMS = ("labels", "probabilities")
NEGATIVE_AND_POSITIVE = (("0", "1"), ("false", "true"), ("no", "yes"), ("negative", "positive"))


class LabelTexts(NamedTuple):
    """One text for each of K classes, and their origin."""

    origin: str
    """A phrase after "labels": "as in the training data"."""
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SubmissionForm:
    """The columns of a submission, and their content."""

    header: tuple[str, ...]
    """All columns in order, that of the ids among them."""
    id_column: str
    label_texts: tuple[str, ...] = ()
    """K texts, one of which is written for each photo; empty for probabilities."""
    classes: tuple[int, ...] = ()
    """The class of each other column of the header."""
    description: str
    notes: tuple[str, ...] = ()

    def rows(self, image_ids: Sequence[str], pred_probs: NDArray[np.floating[Any]]) -> Iterator[list[str]]:
        """Yield the header, then N rows of texts."""
        yield list(self.header)
        position = self.header.index(self.id_column)
        labels = pred_probs.argmax(axis=1)
        for image_id, label, probs in zip(image_ids, labels, pred_probs, strict=True):
            cells = [self.label_texts[label]] if self.label_texts else list(map(str, probs[[*self.classes]]))
            yield [*cells[:position], image_id, *cells[position:]]


def known_label_texts(
    class_names: Sequence[str],
    label_texts: Sequence[str] | None,
    *,
    sample: Path | None = None,
    class_map: Path | str | None = None,
) -> list[LabelTexts]:
    """Return the texts for the classes of a run: its table's if known, its names, and those of a class map.

    The map is the given one (InputError if it does not fit), or else one beside the sample that knows these
    classes.
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
            f"{known_map.origin} has the classes {some(known_map.names)}; the run has {some(class_names)}.",
            expected="A class map for a submission needs the classes of the run.",
            remedy="Name the same classes, or leave the map out.",
        )
    return [*ways, *mapped]


def _by_map(class_map: ClassMap, texts: Sequence[str]) -> list[LabelTexts]:
    """Return the texts of a map for classes written so; none if it lacks one of them."""
    lookup = class_map.lookup(texts)
    if not lookup.keys() >= set(texts):
        return []
    origin = f"as in {class_map.origin}"
    inverses = [{label: text for text, label in reversed(each.items())} for each in class_map.lookups]
    return [LabelTexts(origin, tuple(text_of[lookup[text]] for text in texts)) for text_of in inverses]


def submission_form(
    listed: PhotoList, ways: Sequence[LabelTexts], *, form: str | None = None
) -> SubmissionForm:
    """Return the form of a submission for these photos; `form` decides where the sample leaves it open.

    `ways` come from `known_label_texts`, the preferred one first. InputError where the sample asks for
    another form, for classes or labels that the run does not have, or for the probability of an unknown
    class.

    >>> listed = PhotoList(image_ids=("b", "a"), paths=("b.jpg", "a.jpg"), id_column="id",
    ...                    columns={"id": ["b", "a"], "sick": ["0.5", "0.5"], "well": ["0.5", "0.5"]})
    >>> found = submission_form(listed, known_label_texts(("well", "sick"), ("0", "1")))
    >>> list(found.rows(listed.image_ids, np.array([[0.25, 0.75], [1, 0]])))
    [['id', 'sick', 'well'], ['b', '0.75', '0.25'], ['a', '0.0', '1.0']]
    """
    if form not in (None, *FORMS):
        raise InputError(
            f"form={form!r} is unknown.",
            expected=f"Expected {' or '.join(FORMS)}.",
            remedy="Name one of them.",
        )
    columns = [column for column in listed.columns if column != listed.id_column]
    if len(columns) == 1:
        return _one_column(listed, columns[0], ways, form)
    classes = _classes_of(columns, ways)
    if classes is None and _is_one_a_class(listed, columns, ways):
        raise _not_one_a_class(listed, columns, ways)
    if classes is not None and form == "labels":
        raise InputError(
            f"{_file(listed)} has one column a class, which cannot hold labels.", remedy="Leave --form out."
        )
    if classes is not None:
        return _probabilities(listed, dict(zip(columns, classes, strict=True)), ways)
    if form == "probabilities":
        return _probabilities(listed, {text: k for k, text in enumerate(ways[0].texts)}, ways)
    label = next((column for column in columns if column.lower() in LABEL_COLUMNS), None)
    left_out = [column for column in columns if column != label]
    note = [f"columns of {_file(listed)} that are not written: {some(left_out)}"] if left_out else []
    return _labels(listed, label or LABEL_COLUMNS[0], ways[0], note)


def _one_column(
    listed: PhotoList, column: str, ways: Sequence[LabelTexts], form: str | None
) -> SubmissionForm:
    """Return labels, or the probability of one class, as the values of the column suggest."""
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
        seen = f"{some(values)} in {column!r} of {_file(listed)} is no label of the run"
        return _labels(listed, column, numbering, [seen])
    if form == "labels":
        return _labels(listed, column, ways[0])
    raise InputError(
        f"The labels in column {column!r} of {_file(listed)} are not those of the run: {some(values)}; the"
        f" run has {some(ways[0].texts)}.",
        remedy="Give --class-map FILE, a JSON file such as"
        f' {{"{values[0]}": "{ways[1].texts[0]}", ...}}; or have labels as the run has them with'
        " `kiyome predict --form labels`.",
    )


def _asks_for_probability(
    values: Sequence[str], positive: int | None, numbering: LabelTexts | None, num_classes: int
) -> bool:
    """Whether a column with these values is for a probability rather than for labels."""
    if not values or not _are_probabilities(values):
        return False
    if any(float(value) % 1 for value in values):
        return True
    if numbering is None:
        return positive is not None or num_classes == 2
    return len(values) == 1 and positive is not None


def _positive(column: str, ways: Sequence[LabelTexts]) -> int | None:
    """Return the class of a column of probabilities: the one in its name, or the second of 0 and 1."""
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
    """Return the class in a column's name: equal, or alone at its beginning or end, as in `is_sick`."""
    name, plain = plain_form(column), list(map(plain_form, texts))
    if name in plain:
        return plain.index(name)
    ends = [k for k, text in enumerate(plain) if name.endswith(f"_{text}") or name.startswith(f"{text}_")]
    return ends[0] if len(ends) == 1 and not _are_numbers(texts) else None


def _classes_of(columns: Sequence[str], ways: Sequence[LabelTexts]) -> list[int] | None:
    """Return the class of each column if they match the K classes one to one in some way to write them."""
    found = (_one_to_one(columns, way.texts) for way in ways if len(way.texts) == len(columns))
    return next((classes for classes in found if classes), None)


def _one_to_one(columns: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Return the class of each column, ignoring case and a shared prefix and suffix; empty if none."""
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
    """Whether columns are for classes, though not one to one for those of the run."""
    named = any(_class_named(column, way.texts) is not None for way in ways for column in columns)
    return bool(columns) and (named or all(_are_probabilities(listed.columns[name]) for name in columns))


def _not_one_a_class(listed: PhotoList, columns: Sequence[str], ways: Sequence[LabelTexts]) -> InputError:
    found = [{column: _class_named(column, way.texts) for column in columns} for way in ways]
    best = max(range(len(ways)), key=lambda n: sum(k is not None for k in found[n].values()))
    without = [text for k, text in enumerate(ways[best].texts) if k not in found[best].values()]
    unknown = [column for column, k in found[best].items() if k is None]
    parts = {"no column for": without, "no class called": unknown}
    found_parts = "; ".join(f"{problem} {some(names)}" for problem, names in parts.items() if names)
    differences = found_parts or f"columns {some(columns)} for classes {some(ways[best].texts)}"
    return InputError(
        f"The columns of {_file(listed)} are not the classes of the run: {differences}.",
        remedy="Take the sample of the contest that the run was trained for, or name the class of each column"
        f' with --class-map FILE, a JSON file such as {{"{columns[0]}": "{ways[1].texts[0]}", ...}}.',
    )


def _no_positive_class(listed: PhotoList, column: str, ways: Sequence[LabelTexts]) -> InputError:
    names = ways[1].texts
    binary = (
        "Number the classes with --class-map FILE, a JSON file such as"
        f' {{"{names[0]}": 0, "{names[-1]}": 1}}: the class with 1 is taken.'
    )
    several = "Give a sample with one column a class, or one whose column is named like the class."
    return InputError(
        f"Column {column!r} of {_file(listed)} is for the probability of one class of {some(names)}, but does"
        " not tell which.",
        remedy=binary if len(names) == 2 else several,
    )


def _labels(listed: PhotoList, column: str, way: LabelTexts, notes: Sequence[str] = ()) -> SubmissionForm:
    return SubmissionForm(
        header=_header(listed, [column]),
        id_column=listed.id_column,
        label_texts=way.texts,
        description=f"labels in column {column!r}, {way.origin}: {some(way.texts)}",
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
        description=f"probabilities, one column a class: {some(shown)}" if others else alone,
        notes=tuple(notes),
    )


def _header(listed: PhotoList, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns with that of the ids, in the order of the sample."""
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
