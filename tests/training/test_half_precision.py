"""fp16: the scale of the gradients is learned on the way, so a checkpoint holds it."""

import pytest
import torch

from kiyome.models.compute import choose_compute
from kiyome.training.cross_validate import plan_members, train_members
from kiyome.training.train_state import load_last_checkpoint, new_train_state, save_checkpoint


def learner_in_half_precision(recipe):
    """A state with a scaler that doubles after every third step, as Accelerate makes one on a GPU."""
    state = new_train_state(recipe, num_classes=3, num_rows=8, seed=0, compute=choose_compute("float32"))
    state.scaler = torch.amp.GradScaler(device="cpu", init_scale=2.0**10, growth_interval=3)
    return state


def take_steps(state, numbers):
    """Steps whose gradients overflow in step 4, so that the scale falls as well as rises."""
    for number in numbers:
        torch.manual_seed(number)
        with torch.autocast("cpu", dtype=torch.float16):
            loss = state.network.module(torch.randn(8, 3, 32, 32)).float().square().mean()
        state.scaler.scale(loss * (torch.inf if number == 4 else 1)).backward()
        state.optimizer.param_groups[0]["lr"] = 1e-2
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad()


@pytest.mark.parametrize("stop", [1, 4, 5, 8])
def test_a_resumed_scaler_goes_on_as_if_it_had_not_stopped(recipe, tmp_path, stop):
    whole = learner_in_half_precision(recipe)
    take_steps(whole, range(10))
    cut_off = learner_in_half_precision(recipe)
    take_steps(cut_off, range(stop))
    cut_off.epochs_done = 1
    save_checkpoint(cut_off, tmp_path, key="k")
    resumed = learner_in_half_precision(recipe)
    assert load_last_checkpoint(resumed, tmp_path, key="k") == []
    assert resumed.scaler.state_dict() == cut_off.scaler.state_dict()
    take_steps(resumed, range(stop, 10))
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()
    assert whole.scaler.get_scale() != 2.0**10
    for name, weights in whole.network.module.state_dict().items():
        assert torch.equal(weights, resumed.network.module.state_dict()[name]), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="members in fp16 need a GPU")
def test_a_member_in_fp16_is_resumed_bit_for_bit(recipe, data, tmp_path):
    recipe = recipe.with_fields(precision="fp16", epochs=3)
    [member] = plan_members([recipe], {recipe.name: data}, only=["fold=0"])

    class Killed(Exception):
        """The training ends here."""

    def kill(event):
        if len(event.metrics) == 2:
            raise Killed

    [whole] = train_members([member], tmp_path / "whole")
    with pytest.raises(Killed):
        train_members([member], tmp_path / "cut", on_event=kill)
    [resumed] = train_members([member], tmp_path / "cut")
    assert whole.facts["files"] == resumed.facts["files"]
