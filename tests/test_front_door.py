from pathlib import Path

import kiyome

REFERENCE = Path(__file__).parents[1] / "docs" / "reference.md"


def test_the_front_door_is_sorted_and_whole() -> None:
    assert kiyome.__all__ == sorted(kiyome.__all__)
    assert all(getattr(kiyome, name).__doc__ for name in kiyome.__all__)


def test_every_public_name_has_its_place_in_the_reference() -> None:
    headings = {line[4:] for line in REFERENCE.read_text().splitlines() if line.startswith("### ")}
    assert headings >= {f"kiyome.{name}" for name in kiyome.__all__}
