"""Processes that do not find each other are told, and what needs a whole batch is refused."""

import pytest

from kiyome.errors import InputError
from kiyome.training.member import Member
from kiyome.training.processes import join_processes, num_processes
from kiyome.training.train_member import train_member


@pytest.fixture
def started_as_two(monkeypatch):
    """An environment that speaks of two processes, around one that Accelerate knows to be alone."""
    assert join_processes().num_processes == num_processes() == 1
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.mark.usefixtures("started_as_two")
def test_processes_that_do_not_find_each_other_do_not_train(recipe, data, tmp_path):
    with pytest.raises(InputError, match=r"WORLD_SIZE is 2, but 1 of these processes found each other"):
        train_member(Member(recipe=recipe, fold=0, seed=0, data=data), tmp_path)


@pytest.mark.usefixtures("started_as_two")
def test_leaving_out_large_losses_needs_the_whole_batch(recipe, data, tmp_path):
    recipe = recipe.with_fields(omit_largest=1)
    with pytest.raises(InputError, match=r"omit_largest=1 does not work in 2 processes"):
        train_member(Member(recipe=recipe, fold=0, seed=0, data=data), tmp_path)
