"""Names, counts and shares as a person reads them.

File names and labels come from anywhere. Jinja's escaping stops markup; this file stops what is left: line
breaks, direction overrides that show a name backwards, halves of characters, and names of a thousand letters.
"""

import unicodedata

# Controls, invisible formats, lone surrogates, private use, line and paragraph separators.
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Persian, Hindi and others cannot be written without these two joiners.
JOINERS = frozenset("\u200c\u200d")


def shown(text: object, limit: int = 80) -> str:
    r"""Text on one line with every invisible character spelled out, shortened in the middle.

    Parameters
    ----------
    text : object
        Usually a file name, an image id or a class name; anything else is turned into text first.
    limit : int
        Longest text that is shown whole, in characters.

    Examples
    --------
    >>> shown("cat\nexe.\u202egpj")
    'cat\\nexe.\\u202egpj'
    >>> shown("a" * 50 + ".jpg", limit=20)
    'aaaaaaaaaaaaa…aa.jpg'
    """
    whole = str(text)
    if len(whole) > limit:
        tail = limit * 3 // 10
        whole = f"{whole[: limit - tail - 1]}…{whole[-tail:]}"
    return "".join(map(_spelled_out, whole)) or "(empty)"


def _spelled_out(character: str) -> str:
    if unicodedata.category(character) not in HIDDEN_CATEGORIES or character in JOINERS:
        return character
    return character.encode("unicode_escape").decode()


def count(number: float) -> str:
    """A whole number with its thousands set apart.

    >>> count(21397), count(12.6)
    ('21,397', '13')
    """
    return f"{round(number):,}"


def percent(share: float) -> str:
    r"""A share as a percentage that a line break cannot part from its sign.

    >>> percent(0.0716), percent(0.0002), percent(0.0)
    ('7.2\xa0%', '<0.1\xa0%', '0.0\xa0%')
    """
    return "<0.1\u00a0%" if 0 < share < 0.0005 else f"{100 * share:.1f}\u00a0%"


def chance(probability: float) -> str:
    r"""A chance as on the command line and on the review page: in whole percent, and never certain.

    >>> chance(0.347), chance(0.9996), chance(0.001)
    ('35\xa0%', '>99\xa0%', '<1\xa0%')
    """
    percent = "<1" if probability < 0.005 else ">99" if probability > 0.995 else f"{100 * probability:.0f}"
    return f"{percent}\u00a0%"


def score(quality: float) -> str:
    """A score between 0 and 1 with three digits; what is below them is said to be below.

    >>> score(0.41249), score(0.00001), score(0.0)
    ('0.412', '<0.001', '0.000')
    """
    return "<0.001" if 0 < quality < 0.0005 else f"{quality:.3f}"
