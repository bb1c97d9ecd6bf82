"""How far reviewers agree, where they do not, and what they hold in common. R reviewers, n of N rows.

Rows of which a reviewer is unsure say nothing of agreement and are left out of it. Keeping a label and
relabeling to it are the same thing wherever the given labels are known.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.decisions.current import NOTHING, UNSURE, Codes, Standing
from kiyome.errors import InputError, choose
from kiyome.estimates import wilson_center

Rule = Literal["unanimous", "majority"]
DISPUTED = -1
"""Stands for what is held in common of a row where people differ."""


@dataclass(frozen=True, kw_only=True)
class Kappa:
    """Agreement of two raters beyond chance, with its interval."""

    num_rows: int
    num_agreed: int
    value: float | None
    """None where there is no row, or both raters gave one and the same answer throughout."""
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two reviewers, and how far they agree on the rows that both decided."""

    a: str
    b: str
    kappa: Kappa


def cohen_kappa(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> Kappa:
    """Cohen's kappa of two raters' answers to the same n rows.

    Parameters
    ----------
    a, b
        (n,) whole numbers, one category each; n may be 0.
    confidence
        Of the interval.

    Raises
    ------
    InputError
        Where one has more answers than the other.

    Notes
    -----
    Cohen (1960), Educational and Psychological Measurement 20, 37-46. The interval is Wilson's of the
    observed agreement, carried over to kappa, on as many rows as give kappa the large-sample variance of
    Fleiss, Cohen and Everitt (1969), Psychological Bulletin 72, 323-327. Unlike kappa plus and minus two
    errors it has a width where all answers agree, and never leads beyond 1.

    Examples
    --------
    >>> kappa = cohen_kappa([0, 0, 1, 1, 1, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0, 1, 1, 1, 1])
    >>> round(kappa.value, 3), round(kappa.low, 3), round(kappa.high, 3)
    (0.783, 0.139, 0.96)
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(
            "Two raters answered the same rows.",
            came=f"shapes {first.shape} and {second.shape}",
            remedy="Give the answers to the rows that both saw.",
        )
    agreed = int((first == second).sum())
    if len(first) == 0:
        return Kappa(num_rows=0, num_agreed=0, value=None, low=None, high=None)
    joint = _joint(first, second)
    observed, chance = float(np.trace(joint)), float(joint.sum(axis=1) @ joint.sum(axis=0))
    if len(joint) == 1:
        return Kappa(num_rows=len(first), num_agreed=agreed, value=None, low=None, high=None)
    rows = _rows_worth(joint, observed, chance, len(first))
    center, half = wilson_center(observed, rows, confidence=confidence)
    ends = max(center - half, 0.0), min(center + half, 1.0)
    value, low, high = ((share - chance) / (1 - chance) for share in (observed, *ends))
    return Kappa(num_rows=len(first), num_agreed=agreed, value=value, low=low, high=high)


def _joint(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.float64]:
    """Shares (C, C) of rows by both answers, of the C categories that occur."""
    categories, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    size = len(categories)
    cells = np.bincount(codes[: len(a)] * size + codes[len(a) :], minlength=size * size)
    shares: NDArray[np.float64] = cells.reshape(size, size) / len(a)
    return shares


def _rows_worth(joint: NDArray[np.float64], observed: float, chance: float, num_rows: int) -> float:
    """Independent rows on which the share of agreement would vary as much as kappa times (1 - chance)."""
    if observed in (0, 1):
        return num_rows
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    rest = 1 - chance
    kappa = (observed - chance) / rest
    own = np.diag(joint) @ (1 - (rows + columns) * (1 - kappa)) ** 2
    mixed = joint * (columns[:, None] + rows[None, :]) ** 2
    others = (1 - kappa) ** 2 * (mixed.sum() - np.trace(mixed))
    variance = own + others - (kappa - chance * (1 - kappa)) ** 2  # of kappa, times (1 - chance)**2 * n
    plain = observed * (1 - observed)
    return float(num_rows * plain / variance) if variance > 0 else num_rows


def agreement(standing: Standing) -> list[Pair]:
    """Each pair of reviewers who decided some of the same rows, the pair with most rows first."""
    rows = np.flatnonzero(standing.num_deciders > 1)
    said = {name: standing.outcomes(name, rows) for name in standing.reviewers}
    pairs = []
    for a, b in combinations(said, 2):
        both = (said[a] > UNSURE) & (said[b] > UNSURE)
        if both.any():
            pairs.append(Pair(a=a, b=b, kappa=cohen_kappa(said[a][both], said[b][both])))
    return sorted(pairs, key=lambda pair: -pair.kappa.num_rows)


def overall_agreement(standing: Standing) -> float | None:
    """Share of all pairs of answers to the same row that agree; None where no row has two.

    The observed agreement of Fleiss (1971), Psychological Bulletin 76, 378-382, over rows with any number of
    reviewers, each row weighing as many as it has pairs.
    """
    rows = np.flatnonzero(standing.num_deciders > 1)
    agreed = pairs = 0
    for a, b in combinations([standing.outcomes(name, rows) for name in standing.reviewers], 2):
        both = (a > UNSURE) & (b > UNSURE)
        agreed, pairs = agreed + int((a == b)[both].sum()), pairs + int(both.sum())
    return agreed / pairs if pairs else None


def consensus(standing: Standing, *, rule: Rule = "unanimous") -> Codes:
    """What reviewers hold in common of each row (N,): a code of `standing`, or `DISPUTED`.

    Parameters
    ----------
    standing
        What stands.
    rule
        unanimous: all who are sure hold the same. majority: more than half of them do; a tie is disputed.

    Returns
    -------
    codes : (N,) int32
        `NOTHING` where nobody decided, `UNSURE` where all who did are unsure; a kept label is the code of
        that label where the given labels are known.

    Raises
    ------
    InputError
        On another rule.
    """
    rows = np.flatnonzero(standing.num_deciders)
    outcomes = [standing.outcomes(name, rows) for name in standing.reviewers]
    common = np.zeros(len(standing.num_deciders), np.int32)
    common[rows] = common_codes(np.array(outcomes, np.int32).reshape(len(outcomes), len(rows)), rule)
    return common


def common_codes(outcomes: Codes, rule: Rule) -> Codes:
    """The answer (n,) that the R answers to each row have in common, outcomes being (R, n) codes.

    >>> from kiyome.decisions.current import DROP, LABEL
    >>> outcomes = np.array([[LABEL, LABEL, UNSURE], [LABEL, DROP, NOTHING], [DROP, NOTHING, NOTHING]])
    >>> common_codes(outcomes, "majority").tolist(), common_codes(outcomes, "unanimous").tolist()
    ([4, -1, 1], [-1, -1, 1])
    """
    choose("rule", rule, get_args(Rule))
    is_sure = outcomes > UNSURE
    num_sure = is_sure.sum(axis=0)
    common = np.where((outcomes == UNSURE).any(axis=0), UNSURE, NOTHING).astype(np.int32)
    common[num_sure > 0] = DISPUTED
    for said, sure in zip(outcomes, is_sure, strict=True):
        votes = (outcomes == said).sum(axis=0)
        wins = sure & (votes == num_sure if rule == "unanimous" else 2 * votes > num_sure)
        common[wins] = said[wins]
    return common
