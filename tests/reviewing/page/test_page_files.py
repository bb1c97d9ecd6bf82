"""What the page is made of: files as they are, a library that is what it says, nothing from elsewhere."""

import hashlib
import re
from importlib import resources
from pathlib import Path

STATIC = Path(str(resources.files("kiyome.reviewing") / "static"))
LIBRARY = "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7"


def test_the_library_is_the_one_that_was_read() -> None:
    content = (STATIC / "vendor" / "preact-htm.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == LIBRARY
    assert {path.name for path in (STATIC / "vendor").glob("LICENSE*")} == {
        "LICENSE-htm.txt",
        "LICENSE-preact.txt",
    }


def test_modules_are_small_and_ask_nobody_else() -> None:
    for path in [*STATIC.glob("*.js"), *STATIC.glob("*.css")]:
        text = path.read_text()
        assert text.count("\n") <= 450, path.name
        assert not re.search(r"https?://|\beval\(|new Function|innerHTML|dangerouslySetInnerHTML", text), (
            path.name
        )


def test_every_import_is_a_file_of_ours() -> None:
    for path in STATIC.glob("*.js"):
        for name in re.findall(r'from "([^"]+)"', path.read_text()):
            assert (path.parent / name).is_file(), f"{path.name} imports {name}"
