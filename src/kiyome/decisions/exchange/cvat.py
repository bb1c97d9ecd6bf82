"""CVAT for images 1.1: one tag a photo, out and in.

The format is https://docs.cvat.ai/docs/other/xml_format; CVAT reads it by ``load`` in
``cvat/apps/dataset_manager/formats/cvat.py`` of cvat-ai/cvat, which finds images by id and name and needs no
sizes for tags.

The file may come from anywhere, so it is read by expat with every document type refused: no entity is
declared, expanded or fetched (OWASP, XML external entity prevention).
"""

import re
from collections import Counter
from io import StringIO
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from kiyome.decisions.events import Decision
from kiyome.decisions.exchange.answers import ExportedFile, ParsedFile, ReviewedRows, check_size
from kiyome.errors import InputError

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold (section 2.2)."""

LONGEST_TAG = 1 << 20
"""Bytes; expat takes time and memory for a longer one."""

AUTOMATIC = "auto"
"""The source of a tag that a model made."""

SHAPES = frozenset(("box", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"))
UNTAGGED, SEVERAL = "images without a tag", "images with several tags"
BY_MODELS, IN_SHAPES = "tags made by models", "shapes, which label no whole photo"


def write_cvat(rows: ReviewedRows) -> ExportedFile:
    """Return all N rows as images, with a tag where people agree on a class."""
    _check_characters([*rows.photo_names, *rows.class_names])
    file = StringIO()
    xml = XMLGenerator(file, "utf-8", short_empty_elements=True)
    xml.startDocument()
    _open(xml, "annotations")
    _element(xml, "version", "1.1")
    _write_meta(xml, rows)
    labels = rows.agreed_labels()
    for row, (image_id, name) in enumerate(zip(rows.image_ids, rows.photo_names, strict=True)):
        _open(xml, "image", id=str(row), name=name)
        if image_id in labels:
            _open(xml, "tag", label=labels[image_id], source="manual")
            xml.endElement("tag")
        xml.endElement("image")
        xml.characters("\n")
    xml.endElement("annotations")
    xml.endDocument()
    return ExportedFile(content=file.getvalue().encode(), left_out=rows.left_out_of_one_label())


def read_cvat(content: bytes) -> ParsedFile:
    """Return the decisions in the tags; a file of CVAT names no annotators."""
    check_size(content, "CVAT")
    if content.startswith(b"PK"):
        _refuse("is a ZIP archive", "Extract annotations.xml from it.")
    parser, images = expat.ParserCreate(), _Images()
    again = "Export it again from CVAT."
    parser.StartDoctypeDeclHandler = lambda *_: _refuse("declares a document type", again)
    parser.StartElementHandler, parser.EndElementHandler = images.start, images.end
    try:
        for begin in range(0, len(content), LONGEST_TAG):
            parser.Parse(content[begin : begin + LONGEST_TAG], False)  # noqa: FBT003 - expat has no name for it
            if begin - parser.CurrentByteIndex > LONGEST_TAG:
                _refuse(f"has a tag of more than {LONGEST_TAG:,} bytes", again)
        parser.Parse(b"", True)  # noqa: FBT003
    except expat.ExpatError as error:
        raise InputError(
            f"The CVAT file is not valid XML: {error}.", remedy="Export it again as CVAT for images 1.1."
        ) from error
    return ParsedFile(decisions=images.decisions, skipped=images.skipped)


class _Images:
    """The decisions found so far; expat calls it with every start and end of an element."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.skipped = Counter[str]()
        self._is_first = True
        self._photo: str | None = None
        self._labels: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._is_first and name != "annotations":
            _refuse(f"begins with <{name}>", "Export it as CVAT for images 1.1.")
        self._is_first = False
        if name == "track":
            _refuse("holds tracks of a video", "Export the task of images as CVAT for images 1.1.")
        if name == "image":
            self._photo, self._labels = attributes.get("name", ""), []
        elif name in SHAPES and self._photo is not None:
            self.skipped[IN_SHAPES] += 1
        elif name == "tag" and self._photo is not None:
            self._tag(attributes)

    def end(self, name: str) -> None:
        if name != "image" or self._photo is None:
            return
        different = set(self._labels)
        if len(different) == 1:
            self.decisions.append(Decision(image_id=self._photo, verdict="relabel", label=self._labels[0]))
        else:
            self.skipped[SEVERAL if different else UNTAGGED] += 1
        self._photo = None

    def _tag(self, attributes: dict[str, str]) -> None:
        if attributes.get("source") == AUTOMATIC:
            self.skipped[BY_MODELS] += 1
        else:
            self._labels.append(attributes.get("label", ""))


def _refuse(problem: str, remedy: str) -> NoReturn:
    expected = "Expected <annotations> with images."
    raise InputError(f"The CVAT file {problem}.", expected=expected, remedy=remedy)


def _write_meta(xml: XMLGenerator, rows: ReviewedRows) -> None:
    for name in ("meta", "task"):
        _open(xml, name)
    _element(xml, "name", NOT_XML.sub("?", rows.run))
    _element(xml, "size", str(len(rows.image_ids)))
    _element(xml, "mode", "annotation")
    _open(xml, "labels")
    for name in rows.class_names:
        _open(xml, "label")
        _element(xml, "name", name)
        _element(xml, "type", "tag")
        xml.endElement("label")
    for name in ("labels", "task", "meta"):
        xml.endElement(name)
    xml.characters("\n")


def _check_characters(names: list[str]) -> None:
    if odd := [name for name in names if NOT_XML.search(name)]:
        raise InputError(
            f"The name {odd[0]!r} and {len(odd) - 1} more have control characters, which XML cannot hold.",
            remedy="Rename these, or export as Label Studio or FiftyOne file.",
        )


def _open(xml: XMLGenerator, name: str, /, **attributes: str) -> None:
    xml.startElement(name, AttributesImpl(attributes))


def _element(xml: XMLGenerator, name: str, text: str) -> None:
    _open(xml, name)
    xml.characters(text)
    xml.endElement(name)
