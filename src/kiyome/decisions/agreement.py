"""Agreement between reviewers, and the decisions that they have in common. R reviewers, n of N rows.

Rows of which a reviewer is unsure are left out of agreement. To keep a label and to relabel to it are the
same wherever the given labels are known.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.decisions.current import NONE, UNSURE, Codes, CurrentDecisions
from kiyome.errors import InputError, choose
from kiyome.estimates import wilson_center

Rule = Literal["unanimous", "majority"]
DISPUTED = -1
"""The code of a row on which people differ."""


@dataclass(frozen=True, kw_only=True)
class Kappa:
    """Agreement of two raters beyond chance, with its interval."""

    num_rows: int
    num_agreed: int
    value: float | None
    """None where there is no row, or where both raters gave only one and the same answer."""
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The agreement of two reviewers on the rows that both decided."""

    a: str
    b: str
    kappa: Kappa


def cohen_kappa(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> Kappa:
    """Return Cohen's kappa of two raters' answers to the same n rows, one category (whole number) each.

    Notes
    -----
    Cohen (1960), Educational and Psychological Measurement 20, 37-46. The interval is Wilson's of the
    observed agreement, carried over to kappa, on as many rows as give kappa the large-sample variance of
    Fleiss, Cohen and Everitt (1969), Psychological Bulletin 72, 323-327. Unlike kappa plus and minus two
    errors it has a width where all answers agree, and never exceeds 1.

    Examples
    --------
    >>> kappa = cohen_kappa([0, 0, 1, 1, 1, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0, 1, 1, 1, 1])
    >>> round(kappa.value, 3), round(kappa.low, 3), round(kappa.high, 3)
    (0.783, 0.139, 0.96)
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(
            f"The answers of the two raters have the shapes {first.shape} and {second.shape}.",
            expected="Expected one answer of each to the same n rows.",
            remedy="Pass the answers to the rows that both saw.",
        )
    agreed = int((first == second).sum())
    if len(first) == 0:
        return Kappa(num_rows=0, num_agreed=0, value=None, low=None, high=None)
    joint = _joint(first, second)
    observed, chance = float(np.trace(joint)), float(joint.sum(axis=1) @ joint.sum(axis=0))
    if len(joint) == 1:
        return Kappa(num_rows=len(first), num_agreed=agreed, value=None, low=None, high=None)
    rows = _effective_rows(joint, observed, chance, len(first))
    center, half = wilson_center(observed, rows, confidence=confidence)
    ends = max(center - half, 0.0), min(center + half, 1.0)
    value, low, high = ((share - chance) / (1 - chance) for share in (observed, *ends))
    return Kappa(num_rows=len(first), num_agreed=agreed, value=value, low=low, high=high)


def _joint(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the proportions (C, C) of rows by both answers, for the C categories that occur."""
    categories, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    size = len(categories)
    cells = np.bincount(codes[: len(a)] * size + codes[len(a) :], minlength=size * size)
    shares: NDArray[np.float64] = cells.reshape(size, size) / len(a)
    return shares


def _effective_rows(joint: NDArray[np.float64], observed: float, chance: float, num_rows: int) -> float:
    """Return how many independent rows give the agreement the variance of kappa times (1 - chance)."""
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


def agreement(current: CurrentDecisions) -> list[Pair]:
    """Return the agreement of each two reviewers with rows in common, the pair with most rows first."""
    rows = np.flatnonzero(current.num_decisions > 1)
    answers = {name: current.outcomes(name, rows) for name in current.reviewers}
    pairs = []
    for a, b in combinations(answers, 2):
        both = (answers[a] > UNSURE) & (answers[b] > UNSURE)
        if both.any():
            pairs.append(Pair(a=a, b=b, kappa=cohen_kappa(answers[a][both], answers[b][both])))
    return sorted(pairs, key=lambda pair: -pair.kappa.num_rows)


def overall_agreement(current: CurrentDecisions) -> float | None:
    """Return the proportion of all pairs of answers to one row that agree; None where no row has two.

    The observed agreement of Fleiss (1971), Psychological Bulletin 76, 378-382, over rows with any number of
    reviewers, each row weighing as many as it has pairs.
    """
    rows = np.flatnonzero(current.num_decisions > 1)
    agreed = pairs = 0
    for a, b in combinations([current.outcomes(name, rows) for name in current.reviewers], 2):
        both = (a > UNSURE) & (b > UNSURE)
        agreed, pairs = agreed + int((a == b)[both].sum()), pairs + int(both.sum())
    return agreed / pairs if pairs else None


def consensus_codes(current: CurrentDecisions, *, rule: Rule = "unanimous") -> Codes:
    """Return the code (N,) that reviewers have in common on each row, or `DISPUTED`.

    unanimous: all who are sure agree. majority: more than half of them do; a tie is disputed. `NONE` where
    nobody decided, `UNSURE` where all who did are unsure; a kept label is the code of that label where the
    given labels are known.
    """
    rows = np.flatnonzero(current.num_decisions)
    outcomes = [current.outcomes(name, rows) for name in current.reviewers]
    common = np.zeros(len(current.num_decisions), np.int32)
    common[rows] = common_codes(np.array(outcomes, np.int32).reshape(len(outcomes), len(rows)), rule)
    return common


def common_codes(outcomes: Codes, rule: Rule) -> Codes:
    """Return the code (n,) that the R answers to each row have in common; outcomes are (R, n) codes.

    >>> from kiyome.decisions.current import DROP, LABEL
    >>> outcomes = np.array([[LABEL, LABEL, UNSURE], [LABEL, DROP, NONE], [DROP, NONE, NONE]])
    >>> common_codes(outcomes, "majority").tolist(), common_codes(outcomes, "unanimous").tolist()
    ([6, -1, 1], [-1, -1, 1])
    """
    choose("rule", rule, get_args(Rule))
    is_sure = outcomes > UNSURE
    num_sure = is_sure.sum(axis=0)
    common = np.where((outcomes == UNSURE).any(axis=0), UNSURE, NONE).astype(np.int32)
    common[num_sure > 0] = DISPUTED
    for answer, sure in zip(outcomes, is_sure, strict=True):
        votes = (outcomes == answer).sum(axis=0)
        wins = sure & (votes == num_sure if rule == "unanimous" else 2 * votes > num_sure)
        common[wins] = answer[wins]
    return common
