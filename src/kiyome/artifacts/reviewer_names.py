"""Names of reviewers: one spelling for each, nothing that cannot be seen, and which of them look the same."""

import unicodedata
from collections.abc import Iterable

from kiyome.errors import InputError

LOOKS_LIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТУХаеѕіјорсухԁһԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧονυ",
    "ABESIJKMHOPCTYXaesijopcyxdhqwABEZHIKMNOPTYXovu",
)
"""Letters that most typefaces draw alike."""


def composed(name: str) -> str:
    r"""The name in NFC: one keyboard sends an accent with its letter, another one after it.

    >>> composed("Rene\u0301") == "Ren\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def reviewer_name(name: str) -> str:
    r"""The name as it is kept.

    Raises
    ------
    InputError
        When something in it cannot be seen, so that two people would have one name.

    Examples
    --------
    >>> reviewer_name("Ann\u200b")
    Traceback (most recent call last):
    kiyome.errors.InputError: A reviewer's name holds a character that cannot be seen. Came: 'Ann\u200b'. ...
    """
    if any(unicodedata.category(character) in ("Cc", "Cf") for character in name):
        raise InputError(
            "A reviewer's name holds a character that cannot be seen.",
            came=ascii(name[:80]),
            remedy="Leave it out: control and format characters make two names look like one.",
        )
    return composed(name)


def look_alikes(name: str, others: Iterable[str]) -> list[str]:
    """The other names that read like this one.

    >>> look_alikes("Ann", ["ann", "Аnn", "Ann", "Anna"])  # the second begins with a Cyrillic letter
    ['ann', 'Аnn']
    """
    return [other for other in others if other != name and _drawn(other) == _drawn(name)]


def _drawn(name: str) -> str:
    """What names have in common that look the same."""
    compatible = unicodedata.normalize("NFKC", name).translate(LOOKS_LIKE).casefold()
    visible = (each for each in compatible if unicodedata.category(each) not in ("Cc", "Cf"))
    return " ".join("".join(visible).split())
