"""What two labels of the same thing, given independently, say of how many labels are wrong."""

from math import sqrt

from kiyome.estimates import Estimate, share


def noise_rate_from_pairs(
    num_differing: int, num_pairs: int, *, num_classes: int | None = None, confidence: float = 0.95
) -> Estimate:
    """The share of wrong labels that explains how many pairs of labels differ.

    Parameters
    ----------
    num_differing, num_pairs
        Of pairs of labels of the same photo, given without sight of each other, those that differ.
    num_classes
        K: errors are apart and fall on all classes alike. None: the least share, half of the pairs, whatever
        the errors are like, as in a pair that differs at least one label is wrong.
    confidence
        Of the interval: Wilson's of the share of pairs, carried over.

    Raises
    ------
    InputError
        Counts that cannot be.

    Notes
    -----
    With errors apart, pairs agree in (1 - e)^2 + e^2 / (K - 1). Where two people make the same mistake more
    often than that, as they do, more labels are wrong than either answer says. Not good for pairs that were
    put together, or checked, because their labels differ.

    Examples
    --------
    >>> noise_rate_from_pairs(68, 662).as_percent()
    '5.1 % (4.1 to 6.4 %, n = 662)'
    >>> noise_rate_from_pairs(68, 662, num_classes=5).as_percent()
    '5.3 % (4.2 to 6.7 %, n = 662)'
    """
    differing = share(num_differing, num_pairs, confidence=confidence)
    value, low, high = (
        _wrong(each, num_classes) for each in (differing.value, differing.low, differing.high)
    )
    return Estimate(value=value, low=low, high=high, num_rows=num_pairs)


def _wrong(differing: float, num_classes: int | None) -> float:
    if num_classes is None:
        return differing / 2
    most = (num_classes - 1) / num_classes  # share of differing pairs, and of wrong labels, of mere guesses
    return most * (1 - sqrt(max(1 - differing / most, 0)))
