"""CVAT for images 1.1: one tag a photo, out and in.

The format is https://docs.cvat.ai/docs/other/xml_format; what reads it, ``load`` in
``cvat/apps/dataset_manager/formats/cvat.py`` of cvat-ai/cvat, finds images by id and name and needs no sizes
for tags.

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

from kiyome.decisions.exchange.values import Reading, Reviewed, Said, Written, check_size
from kiyome.errors import InputError

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold (section 2.2)."""

LONGEST_TAG = 1 << 20
"""Bytes; expat takes time and memory for a longer one."""

AUTOMATIC = "auto"
"""The source of a tag that a model made."""

SHAPES = frozenset(("box", "polygon", "polyline", "points", "ellipse", "cuboid", "mask", "skeleton"))
UNTAGGED, SEVERAL = "images without a tag", "images with several tags"
BY_MODELS, DRAWN = "tags made by models", "shapes, which label no whole photo"


def write_cvat(reviewed: Reviewed) -> Written:
    """All N rows as images, with a tag where people agree on a class.

    Raises
    ------
    InputError
        Where a name has a character that XML cannot hold.
    """
    _check_characters([*reviewed.photo_names, *reviewed.class_names])
    file = StringIO()
    xml = XMLGenerator(file, "utf-8", short_empty_elements=True)
    xml.startDocument()
    _open(xml, "annotations")
    _element(xml, "version", "1.1")
    _write_meta(xml, reviewed)
    labels = reviewed.agreed_labels()
    for row, name in enumerate(reviewed.photo_names):
        _open(xml, "image", id=str(row), name=name)
        if row in labels:
            _open(xml, "tag", label=labels[row], source="manual")
            xml.endElement("tag")
        xml.endElement("image")
        xml.characters("\n")
    xml.endElement("annotations")
    xml.endDocument()
    return Written(content=file.getvalue().encode(), left_out=reviewed.left_out_of_one_label())


def read_cvat(content: bytes) -> Reading:
    """What the tags say; CVAT's file names no annotators.

    Raises
    ------
    InputError
        Where it is too large, no XML, declares a document type, or is no CVAT file of images.
    """
    check_size(content, "CVAT")
    if content.startswith(b"PK"):
        _refuse("a ZIP archive", "Take annotations.xml out of it.")
    parser, images = expat.ParserCreate(), _Images()
    parser.StartDoctypeDeclHandler = lambda *_: _refuse("a document type", "Export it again from CVAT.")
    parser.StartElementHandler, parser.EndElementHandler = images.start, images.end
    try:
        for begin in range(0, len(content), LONGEST_TAG):
            parser.Parse(content[begin : begin + LONGEST_TAG], False)  # noqa: FBT003 - expat has no name for it
            if begin - parser.CurrentByteIndex > LONGEST_TAG:
                _refuse(f"a tag of more than {LONGEST_TAG:,} bytes", "Export it again from CVAT.")
        parser.Parse(b"", True)  # noqa: FBT003
    except expat.ExpatError as error:
        raise InputError(
            "A CVAT file is whole XML.", came=str(error), remedy="Export it again as CVAT for images 1.1."
        ) from error
    return Reading(said=images.said, passed_over=images.passed_over)


class _Images:
    """What was met so far: expat calls it with every start and end of an element."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.passed_over = Counter[str]()
        self._is_first = True
        self._photo: str | None = None
        self._labels: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._is_first and name != "annotations":
            _refuse(f"the element <{name}>", "Export it as CVAT for images 1.1.")
        self._is_first = False
        if name == "track":
            _refuse("tracks of a video", "Export the task of images as CVAT for images 1.1.")
        if name == "image":
            self._photo, self._labels = attributes.get("name", ""), []
        elif name in SHAPES and self._photo is not None:
            self.passed_over[DRAWN] += 1
        elif name == "tag" and self._photo is not None:
            self._tag(attributes)

    def end(self, name: str) -> None:
        if name != "image" or self._photo is None:
            return
        different = set(self._labels)
        if len(different) == 1:
            self.said.append(Said(photo=self._photo, label=self._labels[0]))
        else:
            self.passed_over[SEVERAL if different else UNTAGGED] += 1
        self._photo = None

    def _tag(self, attributes: dict[str, str]) -> None:
        if attributes.get("source") == AUTOMATIC:
            self.passed_over[BY_MODELS] += 1
        else:
            self._labels.append(attributes.get("label", ""))


def _refuse(came: str, remedy: str) -> NoReturn:
    raise InputError("A CVAT file begins with <annotations> and holds images.", came=came, remedy=remedy)


def _write_meta(xml: XMLGenerator, reviewed: Reviewed) -> None:
    for name in ("meta", "task"):
        _open(xml, name)
    _element(xml, "name", NOT_XML.sub("?", reviewed.run))
    _element(xml, "size", str(len(reviewed.image_ids)))
    _element(xml, "mode", "annotation")
    _open(xml, "labels")
    for name in reviewed.class_names:
        _open(xml, "label")
        _element(xml, "name", name)
        _element(xml, "type", "tag")
        xml.endElement("label")
    for name in ("labels", "task", "meta"):
        xml.endElement(name)
    xml.characters("\n")


def _check_characters(names: list[str]) -> None:
    strange = [name for name in names if NOT_XML.search(name)]
    if strange:
        raise InputError(
            "XML holds no control characters, and so the CVAT format neither.",
            came=f"{strange[0]!r} and {len(strange) - 1} more such names",
            remedy="Rename these, or export as Label Studio or FiftyOne file.",
        )


def _open(xml: XMLGenerator, name: str, /, **attributes: str) -> None:
    xml.startElement(name, AttributesImpl(attributes))


def _element(xml: XMLGenerator, name: str, text: str) -> None:
    _open(xml, name)
    xml.characters(text)
    xml.endElement(name)
