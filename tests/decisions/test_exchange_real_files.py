"""Files as other tools write them, by their documentation and source; and files that nobody should send."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.decisions.current import CurrentDecisions
from kiyome.decisions.exchange.answers import ParsedFile, parse_json, plan_import
from kiyome.decisions.exchange.cvat import read_cvat
from kiyome.decisions.exchange.fiftyone import read_fiftyone
from kiyome.decisions.exchange.formats import parse_file
from kiyome.decisions.exchange.label_studio import labeling_interface, read_label_studio
from kiyome.decisions.items import ReviewItems
from kiyome.errors import InputError, TableError

CLASSES = ("healthy", "rust")


def said(reading: ParsedFile) -> list[tuple[str, str | None, str]]:
    return [(each.image_id, each.label or each.verdict, each.reviewer) for each in reading.decisions]


def choice(*labels: str, question: str = "choice", **more: Any) -> dict[str, Any]:
    return {
        "id": "Dx_aB91ISN",
        "type": "choices",
        "from_name": question,
        "to_name": "image",
        "origin": "manual",
        "value": {"choices": list(labels)},
        **more,
    }


def task(*annotations: dict[str, Any], image: str = "/data/upload/83/1f2e3d4c-leaf_1.jpg") -> dict[str, Any]:
    """A task of an export, https://labelstud.io/guide/task_format."""
    return {
        "id": 1,
        "data": {"image": image},
        "project": 83,
        "created_at": "2021-03-09T21:52:49.513742Z",
        "annotations": list(annotations),
        "predictions": [{"model_version": "model 1", "result": [choice("rust")], "score": 0.9}],
    }


def annotation(who: Any, *result: dict[str, Any], cancelled: bool = False) -> dict[str, Any]:
    return {
        "id": 1001,
        "completed_by": who,
        "result": list(result),
        "was_cancelled": cancelled,
        "ground_truth": False,
        "lead_time": 4.288,
        "result_count": 0,
    }


def read_tasks(*tasks: Any) -> ParsedFile:
    return read_label_studio(list(tasks), CLASSES)


def test_label_studio_json_with_annotators_by_number_and_address() -> None:
    reading = read_tasks(
        task(
            annotation(10, choice("rust")),
            annotation({"id": 3, "email": "b@c.org", "first_name": ""}, choice("healthy")),
        ),
        task(annotation(10, cancelled=True), image="/data/local-files/?d=leaves/a%20b.jpg"),
        task(annotation(10, choice("healthy")), image="https://example.com/opensource/leaves/1.jpg?x=1"),
    )
    assert said(reading) == [
        ("leaf_1.jpg", "rust", "10"),
        ("leaf_1.jpg", "healthy", "b@c.org"),
        ("leaves/a b.jpg", "unsure", "10"),
        ("opensource/leaves/1.jpg", "healthy", "10"),
    ]
    assert reading.skipped == {}


def test_label_studio_tasks_that_say_nothing_are_counted() -> None:
    reading = read_tasks(
        task(),
        task(annotation(1)),
        task(annotation(1, choice("rust", "healthy"))),
        task(annotation(1, choice("rust"), choice("healthy"))),
        task(annotation(1, choice("blurred", question="quality"))),
        task(annotation(1, choice("rust"), choice("blurred", question="quality"))),
        {"data": {"image": "old.jpg"}, "completions": [{"result": [choice("rust")], "id": 5}]},
    )
    assert said(reading) == [("leaf_1.jpg", "rust", "1"), ("old.jpg", "rust", "")]
    assert reading.skipped == {
        "tasks without an annotation": 1,
        "annotations without a choice": 2,
        "annotations with several labels": 2,
    }


def test_label_studio_short_exports(tmp_path: Path) -> None:
    """As exports/csv2.py and convert_to_json_min of label_studio_converter write them."""
    record = {
        "image": "/data/upload/1/0a1b2c3d-x.jpg",
        "id": 7,
        "choice": "rust",
        "annotator": 2,
        "annotation_id": 12,
        "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T00:00:00Z",
        "lead_time": 3.1,
    }
    several = {**record, "choice": {"choices": ["rust", "healthy"]}, "annotator": "a@b.org"}
    reading = read_tasks(record, several)
    assert said(reading) == [("x.jpg", "rust", "2")]
    assert reading.skipped == {"annotations with several labels": 1}
    path = tmp_path / "project.csv"
    path.write_text(
        '"annotation_id","annotator","choice","created_at","id","image","lead_time","updated_at",'
        '"was_cancelled"\n'
        '12,"2","rust","2024",7,"/data/upload/1/0a1b2c3d-x.jpg",3.1,"2024","False"\n'
        '13,"a@b.org","{""choices"": [""rust"", ""healthy""]}","2024",8,"y.jpg",3.1,"2024","False"\n'
        '14,"2","","2024",9,"z.jpg",3.1,"2024","True"\n'
    )
    reading = parse_file(path, CLASSES)
    assert said(reading) == [("x.jpg", "rust", "2"), ("z.jpg", "unsure", "2")]
    assert reading.skipped == {"annotations with several labels": 1}
    path.with_suffix(".tsv").write_text(path.read_text().replace(",", "\t").replace("\t ", ", "))
    assert said(parse_file(path.with_suffix(".tsv"), CLASSES)) == said(reading)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "is not a list of tasks. Expected a JSON list of objects"),
        (b'"a"', "is not a list of tasks. Expected a JSON list of objects"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "codec can't decode"),
        (b"[" * 100_000, "nested too deeply|recursion"),
        (
            json.dumps([task(annotation(1, choice("Rust")))]).encode(),
            "No answer is a class of the table: 'Rust'",
        ),
        (
            json.dumps([task(annotation(1, choice("rust"), choice("rust", question="again")))]).encode(),
            "The questions 'again', 'choice' all have classes",
        ),
    ],
)
def test_what_is_no_label_studio_export_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_label_studio(parse_json(content, "Label Studio"), CLASSES)


def test_the_labeling_interface_is_xml_whatever_classes_are_called() -> None:
    from xml.etree import ElementTree

    hostile = ('<img src=x onerror="alert(1)">', "a&b", "\"'", "x\ny")
    tree = ElementTree.fromstring(labeling_interface(hostile))
    assert [choice.get("value") for choice in tree.iter("Choice")] == list(hostile)


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task><id>4</id><name>leaves</name><size>5</size><mode>annotation</mode>
      <labels><label><name>rust</name><color>#c06060</color><type>tag</type><attributes></attributes></label></labels>
    </task>
    <dumped>2024-01-01 10:00:00.0+00:00</dumped>
  </meta>
  <image id="0" name="cat/1.jpg" width="640" height="480"><tag label="rust" source="manual"></tag></image>
  <image id="1" name="cat/2.jpg" width="640" height="480">
    <tag label="healthy" source="file"><attribute name="sure">true</attribute></tag>
    <box label="rust" source="manual" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2" z_order="0"></box>
  </image>
  <image id="2" name="cat/3.jpg" width="640" height="480"></image>
  <image id="3" name="cat/4.jpg" width="640" height="480"><tag label="rust"/><tag label="healthy"/></image>
  <image id="4" name="cat/5.jpg" width="640" height="480"><tag label="rust" source="auto"/></image>
</annotations>
"""


def test_cvat_tags_of_people_are_taken_and_the_rest_is_counted() -> None:
    reading = read_cvat(CVAT.encode())
    assert said(reading) == [("cat/1.jpg", "rust", ""), ("cat/2.jpg", "healthy", "")]
    assert reading.skipped == {
        "images without a tag": 2,
        "images with several tags": 1,
        "tags made by models": 1,
        "shapes, which label no whole photo": 1,
    }


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            f'<!DOCTYPE x [<!ENTITY e0 "ha">{BOMB}]><annotations>&e9;</annotations>',
            "declares a document type",
        ),
        (
            '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotations>&e;</annotations>',
            "declares a document type",
        ),
        (
            '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><annotations/>',
            "declares a document type",
        ),
        ("<annotations>&e;</annotations>", "undefined entity"),
        ("<annotations><image>", "no element found"),
        ("<html/>", "The CVAT file begins with <html>. Expected <annotations>"),
        ('<annotations><track id="0" label="rust"/></annotations>', "holds tracks of a video"),
        ("PK\x03\x04", "is a ZIP archive"),
        ("", "no element found"),
        ("[]", "syntax error"),
    ],
)
def test_xml_that_nobody_should_send_is_refused_unread(content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_cvat(content.encode())


def test_files_too_large_to_be_read_whole_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiyome.decisions.exchange.answers.MAX_BYTES", 1 << 20)
    for read in (read_cvat, lambda content: parse_json(content, "FiftyOne")):
        with pytest.raises(InputError, match=r"2 MiB or more\. Expected at most 1 MiB"):
            read(b" " * (2 << 20))


def test_fiftyone_targets_in_all_their_forms() -> None:
    labels = {
        "cat/1": 1,
        "cat/2": None,
        "cat/3": {"label": 0, "confidence": 0.5},
        "cat/4": [0, 1],
        "cat/5": [1],
        "cat/6": [],
    }
    reading = read_fiftyone({"classes": list(CLASSES), "labels": labels})
    assert said(reading) == [("cat/1", "rust", ""), ("cat/3", "healthy", ""), ("cat/5", "rust", "")]
    assert reading.skipped == {"photos without a label": 2, "photos with several labels": 1}
    by_name = read_fiftyone({"classes": None, "labels": {"cat/1": "rust"}})
    assert said(by_name) == [("cat/1", "rust", "")]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"labels": []}, "dict with labels of type list"),
        ([], "list with labels of type NoneType"),
        ({"classes": ["a"], "labels": {"x": 1}}, "The FiftyOne label 1 of 'x' is not one of 1 classes"),
        ({"classes": ["a"], "labels": {"x": -1}}, "-1 of 'x'"),
        ({"classes": ["a"], "labels": {"x": True}}, "True of 'x'"),
        ({"classes": None, "labels": {"x": 0}}, "0 of 'x' is not one of 0 classes"),
        ({"classes": ["a"], "labels": {"x": {"label": {}}}}, "of 'x' is not one of"),
    ],
)
def test_what_is_no_fiftyone_file_is_refused(document: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_fiftyone(document)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("photo,decision\na,keep\n", "said.csv has no column image_id"),
        ("image_id,decision\na,maybe\n", "'maybe' line 2"),
        ("image_id,decision,label\na,relabel,\n", "relabel with label '', line 2"),
        ("image_id,decision,label\na,keep,rust\n", "keep with label 'rust', line 2"),
    ],
)
def test_columns_that_say_nothing_sound_are_refused_with_the_line(
    tmp_path: Path, lines: str, message: str
) -> None:
    (tmp_path / "said.csv").write_text(lines)
    with pytest.raises(InputError, match=message):
        parse_file(tmp_path / "said.csv", CLASSES)


def test_a_file_of_another_kind_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "said.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"'said\.xlsx' is not a file of decisions. Expected \.csv"):
        parse_file(tmp_path / "said.xlsx", CLASSES)
    with pytest.raises(InputError, match="No such file"):
        parse_file(tmp_path / "gone.json", CLASSES)
    labels = json.dumps({"classes": CLASSES, "labels": {"a": 1}})
    (tmp_path / "labels.json").write_text(labels)
    assert said(parse_file(tmp_path / "labels.json", CLASSES)) == [("a", "rust", "")]


def review_items(*ids: str, class_names: tuple[str, ...]) -> ReviewItems:
    return ReviewItems(
        run="r",
        title="r",
        blind=True,
        audit=None,
        image_ids=ids,
        shown_ids=ids,
        class_names=class_names,
        fingerprint="",
        table_content="",
        photo_root=Path(),
        photo_paths=[""] * len(ids),
        ranking=np.arange(len(ids)),
    )


def test_names_that_several_photos_have_are_called_so() -> None:
    items = review_items("cat/1.jpg", "dog/1.jpg", "dog/2.jpg", class_names=("cat", "dog"))
    without_folders = read_fiftyone({"classes": None, "labels": {"1": "cat"}})
    with pytest.raises(InputError, match=r"means several photos of this run, such as '1'.* with the folders"):
        plan_import(without_folders, CurrentDecisions(items), name="Ann")
    other = read_fiftyone({"classes": None, "labels": {"7": "cat"}})
    with pytest.raises(InputError, match="No photo of the file is in this run: '7'"):
        plan_import(other, CurrentDecisions(items), name="Ann")


SPELLED = {"1": "Cat", "2": "DOG ", "3": "a", "4": "b", "5": "zebra"}


def test_a_class_may_be_spelled_otherwise_where_one_is_meant(tmp_path: Path) -> None:
    items = review_items(*SPELLED, class_names=("cat", "dog", "a", "A", "B", "B "))
    plan = plan_import(
        read_fiftyone({"classes": None, "labels": SPELLED}), CurrentDecisions(items), name="Ann"
    )
    decided = {each.image_id: each.label for each in plan.decisions["Ann"]}
    assert decided == {"1": "cat", "2": "dog", "3": "a"}
    assert plan.skipped == {
        "answers with the unknown class 'b'": 1,
        "answers with the unknown class 'zebra'": 1,
    }
    lines = [f"{image_id},relabel,{label}" for image_id, label in list(SPELLED.items())[:3]]
    (tmp_path / "d.csv").write_text("\n".join(["image_id,decision,label", *lines]))
    assert said(parse_file(tmp_path / "d.csv", items.class_names)) == [
        ("1", "cat", ""),
        ("2", "dog", ""),
        ("3", "a", ""),
    ]
    (tmp_path / "d.csv").write_text("image_id,decision,label\n4,relabel,b\n")
    with pytest.raises(InputError, match="'b' line 2"):
        parse_file(tmp_path / "d.csv", items.class_names)


def test_a_table_of_labels_holds_what_people_say_of_photos(tmp_path: Path) -> None:
    path = tmp_path / "raters.csv"
    path.write_text("image_id,reviewer,label\na.jpg,ann,rust\na.jpg,ben,healthy\nb.jpg,ben,\n")
    read = parse_file(path, ["healthy", "rust"])
    assert said(read) == [("a.jpg", "rust", "ann"), ("a.jpg", "healthy", "ben")]
    assert read.skipped == {"labels that are empty": 1}
    path.write_text("image_id,reviewer,label\na.jpg,ann,rost\n")
    with pytest.raises(TableError, match=r"labels that are not classes: 'rost' line 2"):
        parse_file(path, ["healthy", "rust"])
    path.write_text("image_id,reviewer\na.jpg,ann\n")
    with pytest.raises(
        InputError, match=r"raters.csv has no column decision or label.* or image_id and label"
    ):
        parse_file(path, ["healthy", "rust"])
