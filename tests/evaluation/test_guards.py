"""When predictions that seem to have seen their labels are marked; another model's word alone is weaker."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.estimates import proportion
from kiyome.evaluation.diagnostics import MOST_REPEATED, caveat_of_seen_labels, repeated_mistakes


def test_wrong_labels_that_are_known_mark_a_network_that_saw_them() -> None:
    """Of digits a network of 200 units repeated 59 to 88 % in sample, others out of fold 13 % at the most."""
    for hits, is_marked in ((201, True), (300, True), (44, False)):
        mark = caveat_of_seen_labels(proportion(hits, 342), "true labels", most=MOST_REPEATED)
        assert (mark is not None) == is_marked


def test_the_word_of_another_model_asks_for_more() -> None:
    """On clean labels networks met up to 66 % of what another spoke against, and rightly."""
    assert caveat_of_seen_labels(proportion(126, 192), "other") is None
    assert caveat_of_seen_labels(proportion(190, 192), "other") is not None
    assert caveat_of_seen_labels(proportion(4, 4), "other") is None  # too few to tell


def test_what_does_not_fit_is_refused() -> None:
    assert repeated_mistakes([0, 1], [0, 1], [False, False]) is None
    with pytest.raises(InputError, match=r"Expected labels, predicted classes and suspects \(bool\)"):
        repeated_mistakes([0, 1], [0, 1], np.array([0, 1]))
