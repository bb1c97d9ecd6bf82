import dataclasses
import html
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.noise import NoiseRate
from kiyome.report import LabelFindings, Repeats, write_report
from kiyome.report.find_report import MAX_REPORT_BYTES, render_report
from kiyome.report.label_findings import SplitLine
from kiyome.report.render import content_security_policy

Make = Callable[..., LabelFindings]
VOID = {"meta", "link", "br", "img", "input", "hr"}
EVIL = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "{{ 7 * 7 }}{% raw %}",
    "gpj.\u202egnp\u2066.exe",
    "two\nlines\r\tand\x00nul",
    "javascript:alert(1)",
    "</style></svg><b>",
    "\udcff lone",
    "x" * 5000,
    "",
]


class Structure(HTMLParser):
    """What a page is made of; every opened tag must be closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def noise_rate(value: float, low: float, high: float, method: str) -> NoiseRate:
    return NoiseRate(
        value=value, low=low, high=high, confidence=0.95, num_rows=9, num_placed=9, method=method
    )


def noise_photo(row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (160, 160, 3), dtype=np.uint8)


def assert_sound(text: str) -> Structure:
    """Hold what must be true of every page."""
    page = Structure(text)
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    links = [value for value in page.values("href") if not value.startswith("data:")]
    assert {link[:1] for link in links} == {"#"}
    assert {link[1:] for link in links} <= set(ids)
    assert not {"script", "iframe", "object", "embed", "form", "img", "base"} & page.tags.keys()
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("style", "src")]
    assert page.tags["h1"] == 1
    assert "http://" not in text
    assert "https://" not in text
    return page


@pytest.mark.parametrize("num_classes", [2, 5, 30, 100])
@pytest.mark.parametrize("photo", [None, noise_photo], ids=["rows", "photos"])
def test_every_number_of_classes_gives_a_sound_page(make_report: Make, num_classes: int, photo: Any) -> None:
    report = make_report(1500, num_classes, photo=photo)
    page = assert_sound(render_report(report))
    flagged = f"{len(report.ranking):,} of 1,500 rows are flagged."
    assert flagged in page.words
    assert ("use" in page.tags) == (photo is not None)


def test_the_answer_is_one_plain_sentence(make_report: Make) -> None:
    report = make_report(
        21_397,
        5,
        noise_rate=noise_rate(0.0716, 0.068, 0.0758, "How & why."),
    )
    words = assert_sound(render_report(report)).words.replace("\u00a0", " ")
    assert "About 7.2 % of the labels are probably wrong (6.8 to 7.6 %);" in words
    assert "How & why. The range does not cover mistakes that the model shares" in words


def test_no_flagged_row_gives_a_calm_page(make_report: Make) -> None:
    page = assert_sound(render_report(make_report(300, 3, flipped=0)))
    assert "none of 300 rows is flagged." in page.words
    assert "No row is flagged." in page.words
    assert "circle" not in page.tags


def test_a_flagged_row_whose_label_the_model_shares_is_not_struck_out(make_report: Make) -> None:
    first = {"is_label_issue": np.array([True, False, False]), "ranking": np.array([0])}
    page = assert_sound(render_report(make_report(3, 2, flipped=0, photo=noise_photo, **first)))
    assert "no other class is more likely" in page.words
    assert "s" not in page.tags


def test_one_row_alone_makes_a_page(make_report: Make) -> None:
    page = assert_sound(render_report(make_report(1, 2, flipped=0)))
    assert "none of 1 rows is flagged." in page.words


def test_the_same_report_gives_the_same_text(make_report: Make) -> None:
    report = make_report(800, 4, photo=noise_photo)
    assert render_report(report) == render_report(report)


def test_each_photo_is_carried_once_and_every_use_has_its_photo(make_report: Make) -> None:
    page = assert_sound(render_report(make_report(4000, 4, photo=noise_photo)))
    uris = [value for tag, name, value in page.attributes if (tag, name) == ("image", "href")]
    used = [value for tag, name, value in page.attributes if (tag, name) == ("use", "href")]
    assert len(uris) == len(set(uris)) == page.tags["symbol"]
    assert len(used) > len(set(used))
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in uris)


def test_the_largest_page_stays_under_the_bound(make_report: Make, tmp_path: Path) -> None:
    long = ["<" * 500 + str(row) for row in range(60_000)]
    report = make_report(
        60_000,
        30,
        flipped=0.5,
        photo=noise_photo,
        image_ids=long,
        class_names=["&" * 100 + str(k) for k in range(30)],
        set_aside=[(name, "\u202e" * 500) for name in long],
        duplicates=Repeats(num_groups=9, num_differing=9, pairs=[(row, row + 1) for row in range(5000)]),
    )
    write_report(report, tmp_path / "report.html")
    size = (tmp_path / "report.html").stat().st_size
    assert size <= MAX_REPORT_BYTES
    assert (tmp_path / "report.html").read_text("utf-8").count("<symbol") == 400


def test_hostile_names_are_text(make_report: Make, tmp_path: Path) -> None:
    K = len(EVIL)
    report = make_report(
        2000,
        K,
        title=EVIL[0],
        class_names=EVIL,
        image_ids=[EVIL[row % K] for row in range(2000)],
        noise_rate=noise_rate(0.1, 0.0, 0.2, EVIL[1]),
        set_aside=[(name, name) for name in EVIL],
        photo_findings=dict.fromkeys(EVIL, 1),
        facts=[(name, name) for name in EVIL],
        photo=noise_photo,
    )
    write_report(report, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    page = assert_sound(text)
    assert "<img src=x onerror=alert(1)>" in page.words
    assert "{{ 7 * 7 }}" in page.words
    assert "gpj.\\u202egnp\\u2066.exe" in page.words
    assert "two\\nlines\\r\\tand\\x00nul" in page.words
    assert "\\udcff lone" in page.words
    assert "(empty)" in page.words
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08]", text)
    assert "x" * 200 not in text


def test_the_policy_names_the_style_that_is_in_the_page(make_report: Make) -> None:
    text = render_report(make_report(50, 2))
    style = text.split("<style>")[1].split("</style>")[0]
    policy = html.unescape(re.search(r'Policy" content="([^"]+)"', text)[1])  # type: ignore[index]
    assert policy == content_security_policy(style)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "url(" not in style
    assert "@import" not in style
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_everything_that_was_found_is_told(digits_report: LabelFindings) -> None:
    page = assert_sound(render_report(digits_report))
    for told in (
        "scan_9001.png",
        "truncated: the file ends after 812 of 4,096 bytes",
        "turned upright (EXIF)",
        "9 groups; 2 carry different labels.",
        "40 groups; 1 carries different labels.",
        "3f9a0c55d1e27b64",
    ):
        assert told in page.words
    assert page.words.count("Rank ") >= 120


def test_a_photo_that_went_missing_leaves_its_card(make_report: Make) -> None:
    def gone(row: int) -> np.ndarray:
        raise FileNotFoundError(row)

    page = assert_sound(render_report(make_report(500, 3, photo=gone)))
    assert "no longer readable" in page.words


def test_photos_carry_the_chance_that_the_command_line_says(make_report: Make) -> None:
    report = make_report(300, 4)
    page = render_report(dataclasses.replace(report, probability=np.full(300, 0.9998)))
    photos = page[page.index('id="photos"') : page.index('id="matrix"')]
    assert photos.count("&gt;99\u00a0%") == len(report.ranking)
    assert "0.001" not in page, "a caption counts in other units than the cards"
    assert "score" not in photos.replace('class="score"', "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"given_labels": np.zeros(3, int)}, "given_labels has the shape (3,). Expected the shape (9,)."),
        (
            {"expected_joint": np.zeros((3, 2))},
            "expected_joint has the shape (3, 2). Expected the shape (2",
        ),
        ({"predicted_labels": np.arange(9)}, "predicted_labels is 2 in row 2. Expected labels from 0 to 1."),
        (
            {"expected_joint": np.full((2, 2), np.nan)},
            "expected_joint is nan in row 0. Expected finite",
        ),
        (
            {"label_quality": np.full(9, np.nan)},
            "label_quality is nan in row 0. Expected a finite",
        ),
        ({"probability": np.full(9, 1.5)}, "probability is 1.5 in row 0. Expected values from 0 to 1."),
        (
            {"is_label_issue": np.arange(9) < 2, "ranking": np.array([0, 0])},
            "ranking does not begin with the flagged rows. Expected each flagged row once",
        ),
    ],
)
def test_arrays_of_different_runs_are_refused(
    make_report: Make, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        make_report(9, 2, flipped=0, **change)


def test_splits_have_numbers_of_their_own_and_rows_of_test_a_mark(make_report: Make) -> None:
    evil = "classes <b>x</b> differ"
    splits = (
        SplitLine(name="train", num_rows=200, flagged=20, noise="10.0 % (8.0 to 12.0 %)", difference=""),
        SplitLine(
            name="test",
            num_rows=100,
            flagged=4,
            noise="4.0 % (2.0 to 6.0 %)",
            difference="cleaner by 6.0 points (2.0 to 10.0)",
            sentences=["test looks like train (AUC 0.503, 0.470 to 0.540).", evil],
        ),
        SplitLine(name="unlabeled", num_rows=1000, flagged=None, noise="", difference=""),
    )
    names = np.where(np.arange(300) % 3 == 0, "test", "train").tolist()
    page = render_report(make_report(300, 4, split_names=names, splits=splits))
    read = " ".join(" ".join(Structure(page).text).split())
    for text in (
        "Does test look like train?",
        "test looks like train (AUC 0.503",
        evil,
        "1,000",
        splits[1].difference,
    ):
        assert text in read
    assert "Does train look like train?" not in read
    assert "<b>x</b>" not in page
    flagged = make_report(300, 4).flagged_ranking
    assert page.count('<span class="split">test</span>') == (flagged % 3 == 0).sum() + len(
        [row for row in flagged if row % 3 == 0]
    )
    plain = render_report(make_report(300, 4))
    assert 'id="splits"' not in plain
    assert 'class="split"' not in plain


def test_each_split_with_labels_has_its_matrix_and_its_list(make_report: Make) -> None:
    plain = make_report(300, 4)
    is_test = np.arange(300) % 3 == 0
    joints = {"train": np.diag([50, 50, 50, 48]), "test": np.diag([25, 25, 25, 25])}
    joints["train"][0, 1], joints["test"][2, 3] = 2, 7
    splits = [
        SplitLine(name=name, num_rows=0, flagged=0, noise="", difference="", expected_joint=joints.get(name))
        for name in ("train", "test", "unlabeled")
    ]
    names = np.where(is_test, "test", "train").tolist()
    page = render_report(make_report(300, 4, split_names=names, splits=splits))
    matrix = page[page.index('id="matrix"') : page.index('id="classes"')]
    assert re.findall("<h3>(.*?)</h3>", matrix[: matrix.index('id="cells"')]) == ["Train", "Test"]
    of_train, of_test = matrix.split("<h3>Test</h3>")
    seven = re.compile('<td class="tint7">(<a [^>]*>)?7</')
    assert seven.search(of_test)
    assert not seven.search(of_train)
    photos = page[page.index('id="photos"') : page.index('id="splits"')]
    in_train, in_test = photos.split("<h3>Test</h3>")
    flagged = is_test[plain.flagged_ranking]
    assert in_test.count('<span class="split">test</span>') == flagged.sum()
    assert '<span class="split">test</span>' not in in_train
