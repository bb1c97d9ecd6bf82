"""Label Studio: tasks with people's choices as annotations and our suggestion as prediction, and back.

The task format is https://labelstud.io/guide/task_format, predictions are as in
https://labelstud.io/guide/predictions. The short exports (JSON-MIN, CSV, TSV) are as ``exports/csv2.py`` and
``converter.py`` of HumanSignal/label-studio-converter write them: the task's data beside one column a
question, ``annotator``, ``annotation_id``, ``lead_time`` and so on.

An import into Label Studio refuses unknown annotators, and gives an annotation without one to the importing
user (``_insert_valid_completed_by_id_or_raise``, its ``tasks/serializers.py``). So the names of reviewers are
in the data of the task.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from kiyome.decisions.events import Decision
from kiyome.decisions.exchange.answers import ExportedFile, ParsedFile, ReviewedRows, preview
from kiyome.errors import InputError
from kiyome.reading.columns import Records

CONTROL, OBJECT = "label", "image"
"""Names in the XML of `labeling_interface`."""

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves files below its document root."""

UPLOADS = "/data/upload/"
"""Where it serves uploads, as ``PROJECT/8 hexadecimal digits-NAME``."""

FACT_COLUMNS = {
    *("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"),
    *("was_cancelled", "image", "image_id", "given_label", "reviewers"),
}
"""Columns of the short exports with facts, or with data that we put into the task."""

UNANSWERED, NO_CHOICE = "tasks without an annotation", "annotations without a choice"
SEVERAL = "annotations with several labels"


@dataclass(frozen=True, kw_only=True)
class _Annotation:
    """The annotation of one task by one annotator."""

    photo: str
    reviewer: str
    skipped: bool = False
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Question -> chosen classes."""


def write_label_studio(rows: ReviewedRows) -> ExportedFile:
    """Return all N rows as tasks: a prediction where we suggest another class, an annotation a reviewer.

    Annotations of rows that people drop, are unsure of, or see none or two of the classes in, are skipped
    ones. Photos are where Label Studio serves local files, with the data folder as its document root.
    """
    decided: dict[str, list[Decision]] = {}
    for decision in rows.decisions:
        decided.setdefault(decision.image_id, []).append(decision)
    tasks = (_task(rows, row, decided.get(image_id, [])) for row, image_id in enumerate(rows.image_ids))
    verdicts = Counter(decision.verdict for decision in rows.decisions)
    skipped = {
        "rows that people drop, exported as skipped": verdicts["drop"],
        "rows that show none of the classes, exported as skipped": verdicts["none_of_these"],
        "rows that show two classes, exported as skipped": verdicts["both"],
    }
    return ExportedFile(
        content=("[" + ",\n".join(map(json.dumps, tasks)) + "]\n").encode(),
        left_out={reason: number for reason, number in skipped.items() if number},
        hint=f"The labeling interface of the project:\n{labeling_interface(rows.class_names)}",
    )


def labeling_interface(class_names: Sequence[str]) -> str:
    """Return the XML to paste into the project's labeling setup, so that tasks and classes fit.

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


def read_label_studio(document: Any, class_names: Sequence[str]) -> ParsedFile:
    """Return the decisions in a parsed JSON or JSON-MIN export; predictions and drafts do not count.

    Several annotators of a task are kept apart. A skipped annotation is unsure.
    """
    tasks = [document] if isinstance(document, dict) else document
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(
            "The Label Studio export is not a list of tasks.",
            expected="Expected a JSON list of objects.",
            remedy="Export as JSON, JSON-MIN, CSV or TSV.",
        )
    if not any("data" in task for task in tasks):
        return _parsed([_annotation_of_record(task) for task in tasks], class_names)
    found = [list(_annotations_of_task(task)) for task in tasks]
    unanswered = sum(not annotations for annotations in found)
    return _parsed(
        [each for annotations in found for each in annotations], class_names, unanswered=unanswered
    )


def read_label_studio_columns(records: Records, class_names: Sequence[str]) -> ParsedFile:
    """Return the decisions in a CSV or TSV export; as `read_label_studio`."""
    texts = {name: records.texts(name) for name in records.columns}
    rows = range(len(records))
    plain = ({name: _plain_or_json(column[row]) for name, column in texts.items()} for row in rows)
    return _parsed([_annotation_of_record(record) for record in plain], class_names)


def _annotations_of_task(task: Mapping[str, Any]) -> Iterator[_Annotation]:
    data: Any = task.get("data")
    data = data if isinstance(data, dict) else {}
    names = data.get("reviewers") if isinstance(data.get("reviewers"), list) else []
    for index, annotation in enumerate(_dicts(task.get("annotations", task.get("completions")))):
        name = str(names[index]) if index < len(names) else ""
        chosen: dict[str, list[str]] = {}
        for region in _dicts(annotation.get("result")):
            if region.get("type") == "choices":
                chosen.setdefault(str(region.get("from_name")), []).extend(_choices(region.get("value")))
        yield _Annotation(
            photo=_photo_of(data),
            reviewer=_annotator(annotation.get("completed_by")) or name,
            skipped=bool(annotation.get("was_cancelled") or annotation.get("skipped")),
            chosen=chosen,
        )


def _annotation_of_record(record: Mapping[str, Any]) -> _Annotation:
    return _Annotation(
        photo=_photo_of(record),
        reviewer=_annotator(record.get("annotator")),
        skipped=str(record.get("was_cancelled")).lower() == "true",
        chosen={
            name: _choices(value) for name, value in record.items() if name not in FACT_COLUMNS and value
        },
    )


def _parsed(
    annotations: Sequence[_Annotation], class_names: Sequence[str], *, unanswered: int = 0
) -> ParsedFile:
    """Return the answers to the one question that has our classes as choices."""
    question = _question(annotations, set(class_names))
    skipped = Counter({UNANSWERED: unanswered} if unanswered else {})
    decisions = []
    for each in annotations:
        chosen = each.chosen.get(question, ())
        if each.skipped:
            decisions.append(Decision(image_id=each.photo, reviewer=each.reviewer, verdict="unsure"))
        elif len(chosen) == 1:
            decisions.append(
                Decision(image_id=each.photo, reviewer=each.reviewer, verdict="relabel", label=chosen[0])
            )
        else:
            skipped[SEVERAL if chosen else NO_CHOICE] += 1
    return ParsedFile(decisions=decisions, skipped=skipped)


def _question(annotations: Sequence[_Annotation], known: set[str]) -> str:
    chosen = [(q, label) for each in annotations for q, labels in each.chosen.items() for label in labels]
    found = {question for question, label in chosen if label in known}
    if len(found) != 1 and chosen:
        raise InputError(
            f"The questions {preview(found)} all have classes of the table as answers."
            if found
            else f"No answer is a class of the table: {preview(label for _, label in chosen)}.",
            expected="Expected exactly one question of the Label Studio project with the classes as choices.",
            remedy="Export as JSON, with that question only, and name its choices as the classes.",
        )
    return next(iter(found), CONTROL)


def _task(rows: ReviewedRows, row: int, decided: Sequence[Decision]) -> dict[str, Any]:
    image_id, address = rows.image_ids[row], LOCAL_FILES + quote(rows.photo_names[row])
    task: dict[str, Any] = {"data": {"image": address, "image_id": image_id}}
    if (given := rows.given_label(image_id)) is not None:
        task["data"]["given_label"] = given
    if decided:
        task["data"]["reviewers"] = [decision.reviewer for decision in decided]
        task["annotations"] = [_annotation(rows.label_of(d), d.seconds) for d in decided]
    return task | _predictions(rows, row)


def _predictions(rows: ReviewedRows, row: int) -> dict[str, Any]:
    """Return our suggestion, where it is another class than the given one."""
    given, likely, probability = rows.given_labels, rows.suggested_labels, rows.probability
    if given is None or likely is None or probability is None or likely[row] == given[row]:
        return {}
    result = _result(rows.class_names[likely[row]])
    score = round(float(probability[row]), 6)
    return {"predictions": [{"model_version": rows.run, "score": score, "result": result}]}


def _annotation(label: str | None, seconds: float | None) -> dict[str, Any]:
    skipped = label is None
    took = {} if seconds is None else {"lead_time": seconds}
    return {"result": [] if label is None else _result(label), "was_cancelled": skipped, **took}


def _result(label: str) -> list[dict[str, Any]]:
    value = {"choices": [label]}
    return [{"from_name": CONTROL, "to_name": OBJECT, "type": "choices", "value": value}]


def _photo_of(data: Mapping[str, Any]) -> str:
    """Return our own id where the task has it, else the photo's name in its address."""
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
    """Return the e-mail address, else the number, as ``get_annotator`` of label_studio_converter."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("id")
    return "" if who is None else str(who)


def _choices(value: object) -> list[str]:
    """Return the classes in an answer: a text, or an object, or a list of these."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = value.get("choices")
        return [value] if isinstance(value, str) else _choices(value)
    return [label for each in value for label in _choices(each)] if isinstance(value, list) else []


def _plain_or_json(text: str) -> Any:
    """Return the value of a cell of the CSV export: texts as they are, everything else as JSON."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
