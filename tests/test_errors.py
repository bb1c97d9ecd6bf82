"""Names that nobody knows: what the refusal says, however many are known and whatever came."""

import pytest

from kiyome.errors import InputError, choose


def refusal(name: object, known: list[str]) -> str:
    with pytest.raises(InputError) as caught:
        choose("backbone", name, known)
    return str(caught.value)


def test_a_known_name_comes_back() -> None:
    assert choose("backbone", "lite0", {"lite0": 1, "tiny": 2}) == "lite0"


@pytest.mark.parametrize("name", ["", None, 3, [3], "x" * 100_000])
def test_whatever_came_is_named_and_what_is_known(name: object) -> None:
    told = refusal(name, ["lite0", "tiny"])
    assert told.startswith("The backbone ")
    assert "is unknown. Expected one of lite0, tiny." in told
    assert repr(name)[:20] in told
    assert told.endswith("Choose one of these.")


def test_of_many_names_the_near_ones_are_told() -> None:
    many = [*(f"other{number}" for number in range(1_000)), "resnet18"]
    told = refusal("resnet19", many)
    assert told.startswith(
        "The backbone 'resnet19' is unknown. Expected one of 1,001 names, such as resnet18."
    )
    assert told.endswith("Did you mean resnet18?")
