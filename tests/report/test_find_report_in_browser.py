"""The page in a real browser: what it asks for, what a click shows, whether it can be read."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kiyome.report import LabelFindings, write_report

# Every visible text against the nearest background, as WCAG 2 computes it.
LOWEST_CONTRAST = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgb = color => { context.clearRect(0, 0, 1, 1); context.fillStyle = color;
    context.fillRect(0, 0, 1, 1); return context.getImageData(0, 0, 1, 1).data; };
  const light = c => [0, 1, 2].map(i => c[i] / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = node => { for (; node; node = node.parentElement) {
    const color = rgb(getComputedStyle(node).backgroundColor); if (color[3] === 255) return color; }
    return rgb("white"); };
  let lowest = [99, ""];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    const style = getComputedStyle(node), inDrawing = node.closest("svg.curve");
    const grounds = [behind(node)];
    if (inDrawing && node.matches(".strong"))
      grounds.push(rgb(getComputedStyle(document.querySelector(".flagged-area")).fill));
    for (const ground of grounds) {
      const pair = [light(rgb(inDrawing ? style.fill : style.color)), light(ground)].sort((a, b) => b - a);
      const ratio = (pair[0] + .05) / (pair[1] + .05);
      if (ratio < lowest[0]) lowest = [ratio, walker.currentNode.data.trim(), node.className];
    }
  }
  return lowest;
}"""

Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Open a report's page and, at the end, hold that it asked for nothing and complained of nothing."""
    trouble: list[str] = []
    contexts = []

    def open_report(report: LabelFindings, *, width: int = 1280, color_scheme: str = "light") -> Any:
        path = tmp_path / "report.html"
        write_report(report, path)
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=color_scheme)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "request", lambda request: trouble.append(request.url) if not is_own(request.url, path) else None
        )
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert trouble == []


def is_own(url: str, path: Path) -> bool:
    return url.startswith("data:") or url.partition("#")[0] == path.as_uri()


def sideways(page: Any) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def test_the_photos_are_painted(open_page: Open, digits_report: LabelFindings) -> None:
    page = open_page(digits_report)
    first = page.locator("#photos .card").first
    assert (
        first.locator("s").inner_text()
        == digits_report.class_names[digits_report.given_labels[digits_report.ranking[0]]]
    )
    shot = first.locator("svg").screenshot()
    low, high = Image.open(BytesIO(shot)).convert("L").getextrema()
    assert high - low > 200


def test_a_cell_of_the_matrix_shows_its_photos(open_page: Open, digits_report: LabelFindings) -> None:
    page = open_page(digits_report)
    visible = page.locator(".cell:visible")
    assert visible.count() == 1
    assert visible.first.get_attribute("id") == page.locator(".cell").first.get_attribute("id")
    for link in page.locator(".heat td a").all()[3:8]:
        link.click()
        assert "#" + visible.first.get_attribute("id") == link.get_attribute("href")
        assert visible.count() == 1
        assert visible.first.locator(".card").count() > 0
        top = visible.first.bounding_box()["y"]
        assert 0 <= top < 400
    page.get_by_text("Show every cell").click()
    assert visible.count() == page.locator(".cell").count()


def test_a_cell_can_be_reached_by_keyboard(open_page: Open, digits_report: LabelFindings) -> None:
    page = open_page(digits_report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the photos"
    page.locator(".heat td a").nth(2).focus()
    page.keyboard.press("Enter")
    target = page.locator(".heat td a").nth(2).get_attribute("href")
    assert page.locator(f"{target}:visible").count() == 1


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_all_text_has_the_contrast_of_level_aa(
    open_page: Open, digits_report: LabelFindings, color_scheme: str
) -> None:
    page = open_page(digits_report, color_scheme=color_scheme)
    page.get_by_text("Show every cell").click()
    for each in page.locator("summary").all():
        each.click()
    ratio, text, *_ = page.evaluate(LOWEST_CONTRAST)
    assert ratio >= 4.5, text
    bright = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (bright == "rgb(255, 255, 255)") == (color_scheme == "light")


@pytest.mark.parametrize("num_classes", [2, 10, 100])
def test_a_phone_never_scrolls_sideways(open_page: Open, make_report: Any, num_classes: int) -> None:
    names = [f"{'averylongclassname' * 3} {k}" if k % 2 else f"c{k}" for k in range(num_classes)]
    page = open_page(make_report(3000, num_classes, class_names=names), width=360)
    assert sideways(page) == 0


def test_photos_on_a_phone_never_scroll_sideways(open_page: Open, digits_report: LabelFindings) -> None:
    page = open_page(digits_report, width=360)
    assert sideways(page) == 0
    page.get_by_text("Show every cell").click()
    assert sideways(page) == 0


def test_hostile_names_do_nothing(open_page: Open, make_report: Any) -> None:
    evil = [
        "<img src=x onerror=alert(1)>",
        "<script>alert(1)</script>",
        "\u202egpj.exe",
        "\n" * 9,
        "w" * 3000,
    ]
    report = make_report(
        900,
        5,
        title=evil[0],
        class_names=evil,
        image_ids=[evil[row % 5] for row in range(900)],
        set_aside=[(name, name) for name in evil],
        facts=[(name, name) for name in evil],
    )
    page = open_page(report, width=360)
    assert page.evaluate("document.images.length + document.scripts.length") == 0
    assert page.locator("h1").inner_text() == evil[0]
    assert sideways(page) == 0


def test_a_script_put_into_the_file_does_not_run(browser: Any, make_report: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(make_report(50, 2), path)
    evil = "<script>window.ran = 1</script><img src='http://127.0.0.1:9/x' onerror='window.ran = 2'></body>"
    path.write_text(path.read_text("utf-8").replace("</body>", evil), "utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.evaluate("typeof window.ran") == "undefined"
    page.close()


def test_paper_shows_the_first_cells_and_no_links_to_click(
    open_page: Open, digits_report: LabelFindings
) -> None:
    page = open_page(digits_report, width=794)
    page.emulate_media(media="print")
    assert page.locator(".cell:visible").count() == 12
    assert page.locator("nav:visible").count() == 0
    assert sideways(page) == 0
