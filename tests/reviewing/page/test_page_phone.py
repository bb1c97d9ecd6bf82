"""At 360 pixels and by touch; and for eyes and ears of every kind."""

from typing import Any

import pytest

PHONE = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}

UNREADABLE = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgb = color => { context.clearRect(0, 0, 1, 1); context.fillStyle = color;
    context.fillRect(0, 0, 1, 1); return context.getImageData(0, 0, 1, 1).data; };
  const light = c => [0, 1, 2].map(i => c[i] / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = node => { for (; node; node = node.parentElement) {
    const color = rgb(getComputedStyle(node).backgroundColor); if (color[3] === 255) return color; }
    return rgb(getComputedStyle(document.documentElement).colorScheme === "dark" ? "black" : "white"); };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    if (node.closest("button:disabled, noscript")) continue;
    const pair = [light(rgb(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    if ((pair[0] + .05) / (pair[1] + .05) < 4.5) found.push(walker.currentNode.data.trim());
  }
  return found;
}"""

NAMELESS = """() => [...document.querySelectorAll("button, a[href], input, select, [role=option]")]
  .filter(node => node.checkVisibility())
  .filter(node => !(node.ariaLabel || node.innerText.trim() || node.title || node.labels?.length))
  .map(node => node.outerHTML.slice(0, 120))"""


SMALL = """() => [...document.querySelectorAll(
    ".actions button, .bulk button, .classes button, nav a, .position button")]
  .filter(node => node.checkVisibility()).map(node => [node.getBoundingClientRect(), node.innerText])
  .filter(([box]) => Math.min(box.width, box.height) < 36)
  .map(([box, text]) => [text, box.width, box.height])"""


def test_a_round_by_touch(serve: Any, open_page: Any, saved: Any, shows: Any) -> None:
    served = serve()
    rows = served.items.ranking.tolist()
    page = open_page(served, **PHONE)
    for button in ("accept", "keep", "both", "none_of_these", "drop", "unsure"):
        page.tap(f".actions .{button}")
    page.tap(".actions .find")
    page.fill("dialog input", served.items.class_names[0])
    page.tap("#found li")
    saved(page)
    assert [served.verdicts()[row][0] for row in rows[:6]] == [
        "relabel",
        "keep",
        "both",
        "none_of_these",
        "drop",
        "unsure",
    ]
    assert len(served.verdicts()) == 7
    page.tap("button[aria-label=Undo]")
    saved(page)
    assert served.verdicts()[rows[6]] == (None, None)
    page.tap("nav a >> nth=1")
    page.tap("#tile-6 img")
    page.tap("#tile-7 img")
    page.tap(".bulk .unsure")
    saved(page)
    assert [served.verdicts()[row][0] for row in rows[6:8]] == ["unsure", "unsure"]
    page.tap("#tile-8 .open")
    shows(page, "#position", "9 of 60")


def test_nothing_is_wider_than_a_phone_and_every_target_is_large(serve: Any, open_page: Any) -> None:
    served = serve()
    page = open_page(served, **PHONE)
    for view in ("one", "grid", "map", "people"):
        page.goto(f"{served.address}/?view={view}")
        page.wait_for_selector(f"main.view-{view} > div")
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate(SMALL) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_and_every_control_has_a_name(
    serve: Any, open_page: Any, saved: Any, scheme: str
) -> None:
    page = open_page(serve(), color_scheme=scheme)
    page.wait_for_selector(".strip img")
    page.keyboard.press("x")
    page.keyboard.press("u")
    page.keyboard.press("1")
    saved(page)
    page.keyboard.press("Home")
    page.click("#filter-button")
    for view in ("one", "grid", "map", "people"):
        page.click(f"nav a:has-text('{view.title()}')")
        page.wait_for_selector(f"main.view-{view} > div")
        page.wait_for_timeout(200)
        assert page.evaluate(UNREADABLE) == []
        assert page.evaluate(NAMELESS) == []
    page.keyboard.press("?")
    assert page.evaluate(UNREADABLE) == []


def test_colors_follow_the_switch(serve: Any, open_page: Any) -> None:
    page = open_page(serve(), color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click(".name")
    page.click("#menu >> text=dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.reload()
    page.wait_for_selector("main.view")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_screen_readers_are_told_what_happened(serve: Any, open_page: Any, shows: Any) -> None:
    page = open_page(serve())
    page.keyboard.press("x")
    shows(page, "#announcement", "dropped. Photo 2 of 60. Given")
    page.keyboard.press("z")
    shows(page, "#announcement", "Undone. Photo 1 of 60.")
    page.focus("button.drop")
    page.keyboard.press("Enter")  # a focused button is pressed; nothing else is
    shows(page, "#announcement", "dropped. Photo 2 of 60.")
    page.focus("button.find")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.evaluate("document.activeElement.className") == "act find"
