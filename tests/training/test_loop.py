"""The loop against plain ones: what moves when, what is recorded, what stops it."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch

from kiyome.errors import KiyomeError
from kiyome.images.loader import Loader
from kiyome.losses import LOSSES
from kiyome.models.compute import choose_compute
from kiyome.training.loop import Targets, fit
from kiyome.training.train_state import learning_rate_share, new_accelerator, new_train_state

COMPUTE = choose_compute("float32")


def started(recipe, data, **changes):
    """A state, its loader and targets, and the epochs to come."""
    recipe = recipe.with_fields(**changes)
    table = data.table
    state = new_train_state(
        recipe, num_classes=table.num_classes, num_rows=len(table), seed=7, compute=COMPUTE
    )
    loader = Loader(
        photos=data.photos,
        rows=np.flatnonzero(table.folds != 0),
        augment=recipe.data.training_view(),
        batch_size=recipe.optimizer.batch_size,
        seed=7,
        shuffle=True,
    )
    targets = Targets(
        labels=torch.from_numpy(table.labels.astype(np.int64)),
        probs=torch.from_numpy(data.targets),
        weights=torch.ones(len(table)),
    )
    epochs = fit(
        state,
        loader,
        targets,
        recipe=recipe,
        accelerator=new_accelerator(COMPUTE),
        seed=7,
        parts=recipe.optimizer.accumulate,
    )
    return state, loader, targets, epochs


def weights_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_equals_a_plain_loop(recipe, data):
    """SGD, schedule, clipping, margins and losses, step by step in plain torch."""
    recipe = recipe.with_fields(clip_norm=1.0, weight_decay=0.1, optimizer="sgd")
    state, loader, targets, epochs = started(recipe, data)
    plain = copy.deepcopy(state.network.module)
    matrices = [p for p in plain.parameters() if p.ndim > 1]
    others = [p for p in plain.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    sgd = torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    num_steps, step = 2 * len(loader), 0
    for epoch, dynamics in enumerate(epochs):
        plain.train()
        for batch in loader.epoch(epoch):
            rate = 1e-2 * min(1, (step + 1) / len(loader))
            if step >= len(loader):
                rate = 1e-2 * 0.5 * (1 + np.cos(np.pi * (step - len(loader)) / len(loader)))
            for group in sgd.param_groups:
                group["lr"] = rate
            images = torch.from_numpy(batch.inputs).float().permute(0, 3, 1, 2) / 127.5 - 1
            labels = targets.labels[batch.rows]
            logits = plain(images)
            losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
            sgd.zero_grad()
            losses.mean().backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            sgd.step()
            step += 1
            for place, row in enumerate(batch.rows.tolist()):
                z, label = logits[place].tolist(), int(labels[place])
                rest = max(z[:label] + z[label + 1 :])
                assert dynamics.margins[row].item() == pytest.approx(z[label] - rest, abs=1e-4)
                assert dynamics.losses[row].item() == pytest.approx(losses[place].item(), abs=1e-4)
    assert step == num_steps
    for name, value in state.network.module.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], atol=1e-5, rtol=1e-4)


def test_dynamics_are_nan_where_a_row_is_held_out(recipe, data):
    _, loader, _, epochs = started(recipe, data)
    dynamics = next(epochs)
    seen = ~torch.isnan(dynamics.margins)
    assert np.flatnonzero(seen).tolist() == sorted(loader.rows.tolist())
    assert torch.equal(seen, ~torch.isnan(dynamics.losses))


def test_two_trainings_are_equal_bit_for_bit(recipe, data):
    runs = []
    for _ in range(2):
        state, _, _, epochs = started(recipe, data, dropout=0.3, mixing="cut_mix", mixing_share=0.5)
        torch.rand(3)  # what happened before does not matter
        runs.append(([e.margins for e in epochs], weights_of(state.network.module)))
    assert not changed(runs[0][1], runs[1][1])
    assert all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(runs[0][0], runs[1][0], strict=True)
    )


def test_parts_sum_to_the_whole_batch(recipe, data):
    """Without BatchNorm in between, one batch in four parts is one batch, but for rounding."""
    ends = []
    for parts in (1, 4):
        state, _, _, epochs = started(recipe, data, accumulate=parts, freeze_batchnorm=1.0)
        list(epochs)
        ends.append(weights_of(state.network.module))
    for name in ends[0]:
        torch.testing.assert_close(ends[0][name], ends[1][name], atol=1e-4, rtol=1e-3)


def test_batchnorm_moves_in_the_second_half_only(recipe, data):
    state, _, _, epochs = started(recipe, data, epochs=4, freeze_batchnorm=0.5)
    module = state.network.module
    norms = {name for name in module.state_dict() if name.startswith(("stem.1.", "blocks.1.", "blocks.3."))}
    states = [weights_of(module)]
    for _ in epochs:
        states.append(weights_of(module))
    moved = [changed(a, b) for a, b in pairwise(states)]
    assert [bool(norms & each) for each in moved] == [False, False, True, True]
    assert norms <= moved[2]
    assert all(set(states[0]) - norms <= each for each in moved)


def test_the_moving_average_is_the_formula(recipe, data):
    state, _, _, epochs = started(recipe, data, ema_decay=0.8, epochs=1, batch_size=80)
    first = weights_of(state.network.module)
    list(epochs)  # one step, where the average moves by 1 - 1/10
    last = weights_of(state.network.module)
    for name, value in state.average.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.1 * first[name] + 0.9 * last[name])
        else:
            assert torch.equal(value, last[name])
    assert state.best_module is state.average


def test_the_schedule_rises_then_falls_to_nearly_nothing():
    shares = [learning_rate_share(step, num_steps=100, warmup_steps=10) for step in range(100)]
    assert shares[0] == 0.1
    assert shares[9] == 1
    assert shares[99] < 1e-3
    assert all(a >= b for a, b in pairwise(shares[10:]))
    assert learning_rate_share(0, num_steps=5, warmup_steps=0) == 1


def test_the_largest_losses_are_left_out_after_the_warmup(recipe, data):
    ends = []
    for changes in ({}, {"omit_largest": 3, "omit_after": 9}, {"omit_largest": 3, "omit_after": 0}):
        state, _, _, epochs = started(recipe, data, epochs=1, **changes)
        list(epochs)
        ends.append(weights_of(state.network.module))
    assert not changed(ends[0], ends[1])
    assert changed(ends[0], ends[2])


def test_a_row_of_no_weight_teaches_nothing(recipe, data):
    ends = []
    for label in (0, 5):
        state, loader, targets, epochs = started(recipe, data, epochs=1)
        targets.weights[loader.rows[3]] = 0
        targets.probs[loader.rows[3]] = torch.eye(10)[label]
        before = data.targets.copy()
        list(epochs)
        ends.append(weights_of(state.network.module))
        data.targets[:] = before
    assert not changed(*ends)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains(loss, recipe, data):
    options = {"transition_matrix": (np.eye(10) * 0.9 + 0.01).tolist()} if "correction" in loss else {}
    state, _, _, epochs = started(recipe, data, epochs=1, loss=loss, loss_options=options)
    before = weights_of(state.network.module)
    [dynamics] = epochs
    assert torch.isfinite(dynamics.losses[~torch.isnan(dynamics.margins)]).all()
    assert changed(before, weights_of(state.network.module))


@pytest.mark.parametrize("mixing", ["mix_up", "cut_mix", "snap_mix"])
def test_every_mixing_trains(mixing, recipe, data):
    _, _, _, epochs = started(recipe, data, epochs=1, mixing=mixing)
    [dynamics] = epochs
    assert torch.isfinite(dynamics.losses[~torch.isnan(dynamics.margins)]).all()


def test_a_loss_that_is_not_finite_stops_before_the_epoch_is_kept(recipe, data):
    state, loader, targets, epochs = started(recipe, data, epochs=3)
    next(epochs)
    targets.weights[loader.rows[5]] = torch.nan
    with pytest.raises(KiyomeError, match=r"The loss is nan in epoch 2.*, not a finite number"):
        next(epochs)
    assert state.epochs_done == 1


def test_broken_statistics_stop_before_the_epoch_is_kept(recipe, data):
    """The loss is fine, and BatchNorm's running mean is not: no file may hold it."""
    state, _, _, epochs = started(recipe, data, epochs=3)
    next(epochs)
    state.network.module.stem[1].running_mean[0] = torch.inf
    with pytest.raises(KiyomeError, match=r"stem.1.running_mean is not finite after epoch 2"):
        next(epochs)
    assert state.epochs_done == 1


def test_large_finite_weights_pass_though_their_sum_is_infinite(recipe, data):
    state, _, _, epochs = started(recipe, data, epochs=2)
    next(epochs)
    state.network.module.stem[1].running_mean[:4] = 3e38  # moves by a tenth a step, and is not used
    assert not torch.isfinite(state.network.module.stem[1].running_mean.sum())
    next(epochs)
    assert state.epochs_done == 2


def test_bf16_trains_and_stays_near(recipe, data):
    if choose_compute("auto").precision != "bf16":
        pytest.skip("this CPU does not compute in bf16")
    compute = choose_compute("bf16")
    state = new_train_state(recipe, num_classes=10, num_rows=120, seed=7, compute=compute)
    depthwise = state.network.module.blocks[0]
    images = torch.randn(2, 16, 8, 8)
    with compute.autocast():
        assert depthwise(images).dtype == torch.bfloat16
        assert state.network.module.blocks[2](images).dtype == torch.bfloat16
    assert copy.deepcopy(state.network.module).blocks[0].forward.layer is not depthwise
