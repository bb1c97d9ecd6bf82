"""Label Studio: tasks with people's choices as annotations and our suggestion as prediction, and back.

The task format is https://labelstud.io/guide/task_format, predictions are as in
https://labelstud.io/guide/predictions. The short exports (JSON-MIN, CSV, TSV) are as ``exports/csv2.py`` and
``converter.py`` of HumanSignal/label-studio-converter write them: the task's data beside one column a
question, ``annotator``, ``annotation_id``, ``lead_time`` and so on.

An import into Label Studio refuses annotators that it does not know, and takes an annotation without one as
the importing user's (``_insert_valid_completed_by_id_or_raise``, its ``tasks/serializers.py``). So reviewers'
names travel in the data of the task.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from kiyome.decisions.exchange.values import Held, Reading, Reviewed, Said, Written, some
from kiyome.errors import InputError
from kiyome.reading.columns import Records

CONTROL, OBJECT = "label", "image"
"""Names in the labeling interface that `labeling_interface` draws."""

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves files below its document root."""

UPLOADS = "/data/upload/"
"""Where it serves what was uploaded, under ``PROJECT/8 hexadecimal digits-NAME``."""

NO_ANSWERS = {
    *("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"),
    *("was_cancelled", "image", "image_id", "given_label", "reviewers"),
}
"""Columns of the short exports that hold facts, or data that we put into the task."""

UNANSWERED, NO_CHOICE = "tasks without an annotation", "annotations without a choice"
SEVERAL = "annotations with several labels"


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What one annotator left at one task."""

    photo: str
    reviewer: str
    skipped: bool = False
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By question, the classes chosen."""


def write_label_studio(reviewed: Reviewed) -> Written:
    """All N rows as tasks: a prediction where the suggestion is another class, an annotation a reviewer.

    Annotations of rows that people drop or are unsure of are skipped ones. Photos are where Label Studio
    serves local files, with the data folder as its document root.
    """
    decided: dict[int, list[Held]] = {}
    for decision in reviewed.decided:
        decided.setdefault(decision.row, []).append(decision)
    tasks = (_task(reviewed, row, decided.get(row, [])) for row in range(len(reviewed.image_ids)))
    dropped = Counter(decision.verdict for decision in reviewed.decided)["drop"]
    return Written(
        content=("[" + ",\n".join(map(json.dumps, tasks)) + "]\n").encode(),
        left_out={"drop, which became skipped": dropped} if dropped else {},
        to_know=f"The labeling interface of the project:\n{labeling_interface(reviewed.class_names)}",
    )


def labeling_interface(class_names: Sequence[str]) -> str:
    """The XML to paste into the project's labeling setup, so that tasks and classes fit.

    >>> print(labeling_interface(["healthy", 'a "b"']))
    <View>
      <Image name="image" value="$image"/>
      <Choices name="label" toName="image" choice="single" showInLine="true">
        <Choice value="healthy"/>
        <Choice value='a "b"'/>
      </Choices>
    </View>
    """
    from xml.sax.saxutils import quoteattr

    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in class_names)
    return (
        f'<View>\n  <Image name="{OBJECT}" value="$image"/>\n'
        f'  <Choices name="{CONTROL}" toName="{OBJECT}" choice="single" showInLine="true">\n'
        f"{choices}\n  </Choices>\n</View>"
    )


def read_label_studio(document: Any, class_names: Sequence[str]) -> Reading:
    """What people say in a parsed JSON or JSON-MIN export; predictions and drafts are nobody's word.

    Several annotators of a task are kept apart. A skipped annotation says unsure.

    Raises
    ------
    InputError
        Where it is no such export, or several questions have our classes as answers.
    """
    tasks = [document] if isinstance(document, dict) else document
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(
            "A Label Studio export is a list of tasks.",
            came=type(tasks).__name__ if not isinstance(tasks, list) else "a list of something else",
            remedy="Export as JSON, JSON-MIN, CSV or TSV.",
        )
    if not any("data" in task for task in tasks):
        return _reading([_answer_of_record(task) for task in tasks], class_names)
    answers = [list(_answers_of_task(task)) for task in tasks]
    unanswered = sum(not found for found in answers)
    return _reading([answer for found in answers for answer in found], class_names, unanswered=unanswered)


def read_label_studio_columns(records: Records, class_names: Sequence[str]) -> Reading:
    """What people say in a CSV or TSV export; as `read_label_studio`."""
    texts = {name: records.texts(name) for name in records.columns}
    rows = range(len(records))
    plain = ({name: _plain_or_json(column[row]) for name, column in texts.items()} for row in rows)
    return _reading([_answer_of_record(record) for record in plain], class_names)


def _answers_of_task(task: Mapping[str, Any]) -> Iterator[_Answer]:
    data: Any = task.get("data")
    data = data if isinstance(data, dict) else {}
    names = data.get("reviewers") if isinstance(data.get("reviewers"), list) else []
    for place, annotation in enumerate(_dicts(task.get("annotations", task.get("completions")))):
        here = str(names[place]) if place < len(names) else ""
        chosen: dict[str, list[str]] = {}
        for region in _dicts(annotation.get("result")):
            if region.get("type") == "choices":
                chosen.setdefault(str(region.get("from_name")), []).extend(_choices(region.get("value")))
        yield _Answer(
            photo=_photo_of(data),
            reviewer=_annotator(annotation.get("completed_by")) or here,
            skipped=bool(annotation.get("was_cancelled") or annotation.get("skipped")),
            chosen=chosen,
        )


def _answer_of_record(record: Mapping[str, Any]) -> _Answer:
    return _Answer(
        photo=_photo_of(record),
        reviewer=_annotator(record.get("annotator")),
        skipped=str(record.get("was_cancelled")).lower() == "true",
        chosen={name: _choices(value) for name, value in record.items() if name not in NO_ANSWERS and value},
    )


def _reading(answers: Sequence[_Answer], class_names: Sequence[str], *, unanswered: int = 0) -> Reading:
    """The answers to the one question whose answers are our classes."""
    question = _question(answers, set(class_names))
    passed_over = Counter({UNANSWERED: unanswered} if unanswered else {})
    said = []
    for answer in answers:
        chosen = answer.chosen.get(question, ())
        if answer.skipped:
            said.append(Said(photo=answer.photo, reviewer=answer.reviewer, verdict="unsure"))
        elif len(chosen) == 1:
            said.append(Said(photo=answer.photo, reviewer=answer.reviewer, label=chosen[0]))
        else:
            passed_over[SEVERAL if chosen else NO_CHOICE] += 1
    return Reading(said=said, passed_over=passed_over)


def _question(answers: Sequence[_Answer], known: set[str]) -> str:
    chosen = [(q, label) for answer in answers for q, labels in answer.chosen.items() for label in labels]
    asked = {question for question, label in chosen if label in known}
    if len(asked) != 1 and chosen:
        answered = f"only {some(label for _, label in chosen)}"
        raise InputError(
            "Exactly one question of the Label Studio project has classes of the table as answers.",
            came=f"the questions {some(asked)}" if asked else answered,
            remedy="Export as JSON, with that question only, and name its choices as the classes.",
        )
    return next(iter(asked), CONTROL)


def _task(reviewed: Reviewed, row: int, decided: Sequence[Held]) -> dict[str, Any]:
    address = LOCAL_FILES + quote(reviewed.photo_names[row])
    task: dict[str, Any] = {"data": {"image": address, "image_id": reviewed.image_ids[row]}}
    if (given := reviewed.given_label(row)) is not None:
        task["data"]["given_label"] = given
    if decided:
        task["data"]["reviewers"] = [decision.reviewer for decision in decided]
        task["annotations"] = [_annotation(reviewed.label_of(d), d.seconds) for d in decided]
    return task | _predictions(reviewed, row)


def _predictions(reviewed: Reviewed, row: int) -> dict[str, Any]:
    """Our suggestion, where it is another class than the given one."""
    given, likely, chance = reviewed.given_labels, reviewed.suggested_labels, reviewed.probability
    if given is None or likely is None or chance is None or likely[row] == given[row]:
        return {}
    result = _result(reviewed.class_names[likely[row]])
    score = round(float(chance[row]), 6)
    return {"predictions": [{"model_version": reviewed.run, "score": score, "result": result}]}


def _annotation(label: str | None, seconds: float | None) -> dict[str, Any]:
    skipped = label is None
    took = {} if seconds is None else {"lead_time": seconds}
    return {"result": [] if label is None else _result(label), "was_cancelled": skipped, **took}


def _result(label: str) -> list[dict[str, Any]]:
    value = {"choices": [label]}
    return [{"from_name": CONTROL, "to_name": OBJECT, "type": "choices", "value": value}]


def _photo_of(data: Mapping[str, Any]) -> str:
    """Our own id where it came along, else the photo's name in its address."""
    if isinstance(data.get("image_id"), str):
        return str(data["image_id"])
    address = data.get("image")
    if not isinstance(address, str):
        address = next((v for v in data.values() if isinstance(v, str) and ("/" in v or "." in v)), "")
    if LOCAL_FILES in address:
        return unquote(address.partition(LOCAL_FILES)[2])
    if UPLOADS in address:
        name = unquote(address.rpartition("/")[2])
        return name[9:] if name[8:9] == "-" else name
    path = address.partition("://")[2].partition("/")[2].partition("?")[0]
    return unquote(path) if path else address


def _annotator(who: object) -> str:
    """As ``get_annotator`` of label_studio_converter: the e-mail address, else the number."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return "" if who is None else str(who)


def _choices(value: object) -> list[str]:
    """The classes in an answer: a text, or an object, or a list of these."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = value.get("choices")
        return [value] if isinstance(value, str) else _choices(value)
    return [label for each in value for label in _choices(each)] if isinstance(value, list) else []


def _plain_or_json(text: str) -> Any:
    """A cell of the CSV export: texts as they are, everything else as JSON."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
