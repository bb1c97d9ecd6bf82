"""Recipes call losses by name; mistakes are errors when the loss is made."""

import inspect

import numpy as np
import pytest
import torch

from kiyome import losses
from kiyome.errors import InputError
from kiyome.losses import LOSSES, EarlyLearning, loss_options, make_loss

BATCH = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([1])


def test_a_name_with_options_is_that_function_with_those_options():
    assert torch.equal(
        make_loss("bi_tempered", t1=0.5, t2=1.5)(*BATCH), losses.bi_tempered(*BATCH, t1=0.5, t2=1.5)
    )
    T = np.eye(3) * 0.7 + 0.1
    made = make_loss("forward_correction", transition_matrix=T)
    assert torch.equal(made(*BATCH), losses.forward_correction(*BATCH, transition_matrix=T))


def test_every_name_is_the_functions_own_and_public():
    for name, function in LOSSES.items():
        assert name in ("early_learning", function.__name__)
        assert function.__name__ in losses.__all__


def test_every_default_can_be_given():
    for name in LOSSES:
        options = {
            key: value for key, value in loss_options(name).items() if value is not inspect.Parameter.empty
        }
        if name.endswith("correction"):
            options["transition_matrix"] = np.eye(3)
        if name == "early_learning":
            options |= {"num_rows": 5, "num_classes": 3}
        made = make_loss(name, **options)
        rows = [torch.tensor([4])] if name == "early_learning" else []
        assert made(*BATCH, *rows).shape == (1,)


def test_the_loss_with_a_memory_is_made_with_the_size_of_the_table():
    made = make_loss("early_learning", num_rows=5, num_classes=3, momentum=0.9, weight=7.0)
    assert isinstance(made, EarlyLearning)
    assert (made.momentum, made.weight, made.beliefs.shape) == (0.9, 7.0, (5, 3))


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        InputError,
        match=r"loss .bitempered. is unknown.*active_passive, .*or in short apl, .*\. Did you mean bi_",
    ):
        make_loss("bitempered")
    with pytest.raises(InputError, match=r"loss 'zzz' is unknown\. .* Choose one of these\."):
        loss_options("zzz")


def test_an_unknown_option_lists_the_known_ones():
    with pytest.raises(
        InputError,
        match=r"loss bi_tempered has no option 'smoothing'\. .*: t1, t2, label_smoothing\. Did you mean l",
    ):
        make_loss("bi_tempered", smoothing=0.1)
    with pytest.raises(
        InputError, match=r"loss mean_absolute_error has no option 'q'\. Its options are: none"
    ):
        make_loss("mean_absolute_error", q=0.7)


def test_a_missing_option_is_named():
    with pytest.raises(InputError, match=r"The loss forward_correction needs the option transition_matrix\."):
        make_loss("forward_correction")
    with pytest.raises(InputError, match=r"The loss early_learning needs the option num_rows\."):
        make_loss("early_learning", num_classes=3)


def test_a_bad_value_is_an_error_when_the_loss_is_made():
    with pytest.raises(
        InputError, match=r"q='0\.7' is not a number\. Expected a number, above 0 and at most 1"
    ):
        make_loss("generalized_cross_entropy", q="0.7")
    with pytest.raises(InputError, match=r"with rows that sum to one"):
        make_loss("backward_correction", transition_matrix=[[0.5, 0.4], [0.5, 0.6]])
    with pytest.raises(
        InputError, match=r"momentum=1\.5 is out of range\. Expected a number, at least 0 and at most 1"
    ):
        make_loss("early_learning", num_rows=5, num_classes=3, momentum=1.5)
