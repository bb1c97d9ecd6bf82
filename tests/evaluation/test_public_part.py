"""What a public part says of the rest: dealing the rows again and again is the oracle."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.evaluation.public_part import public_part

N, PUBLIC = 10_000, 2500


def models(seed: int = 0) -> dict[str, np.ndarray]:
    """Three models that share what is hard, and are about equally good."""
    rng = np.random.default_rng(seed)
    shared, own = rng.random(N), rng.random((N, 3))
    right = np.where(rng.random(N)[:, None] < 0.7, shared[:, None], own) < [0.9, 0.89, 0.885]
    return dict(zip("abc", right.T, strict=True))


def test_dealing_the_rows_gives_the_same() -> None:
    rights, rng = models(), np.random.default_rng(1)
    found, matrix = public_part(rights, PUBLIC), np.column_stack(list(rights.values()))
    stays, differences = [], []  # ties are rare with so many rows
    for _ in range(2000):
        rows = rng.permutation(N)
        public, private = matrix[rows[:PUBLIC]].mean(axis=0), matrix[rows[PUBLIC:]].mean(axis=0)
        stays.append(public.argmax() == private.argmax())
        differences.append(private - public)
    within = np.quantile(np.abs(differences), 0.95, axis=0)
    assert [found.within[name] for name in rights] == pytest.approx(within.tolist(), rel=0.05)
    assert found.probability_leader_stays == pytest.approx(np.mean(stays), abs=0.04)
    assert (found.num_public, found.num_private) == (2500, 7500)


def test_rows_of_a_group_are_on_one_side() -> None:
    rights = {name: np.repeat(each[: N // 4], 4) for name, each in models().items()}
    alone = public_part(rights, PUBLIC)
    together = public_part(rights, PUBLIC, groups=np.arange(N) // 4)
    assert together.within["a"] == pytest.approx(2 * alone.within["a"])


@pytest.mark.parametrize("num_public", [0, N])
def test_either_side_has_rows(num_public: int) -> None:
    with pytest.raises(InputError, match=rf"num_public={num_public} of 10,000 rows\..*Pass 1 to 9,999"):
        public_part(models(), num_public)
