"""On real networks: exactly what is meant to stand still stands still, epoch by epoch, and the rest moves."""

import copy
import multiprocessing

import pytest
import timm
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from kiyome.batchnorm import batchnorm_frozen, freeze_batchnorm, unfreeze_batchnorm
from kiyome.errors import InputError

NETWORKS = ["resnet18", "efficientnet_lite0"]
PARTS = [(True, True), (True, False), (False, True), (False, False)]


def a_network(name):
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)  # a zero would keep gradients from the layer before
            nn.init.uniform_(module.bias, 0.1, 0.2)
    return model


def an_optimizer(model, kind="sgd"):
    if kind == "sgd":
        return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)


def train_one_step(model, optimizer, seed, *, set_to_none=True):
    model.train()
    rng = torch.Generator().manual_seed(seed)
    photos, labels = torch.randn(4, 3, 32, 32, generator=rng), torch.randint(0, 3, (4,), generator=rng)
    optimizer.zero_grad(set_to_none=set_to_none)
    nn.functional.cross_entropy(model(photos), labels).backward()
    optimizer.step()


def batchnorm_names(model):
    """Names of affine parameters and of statistics, by the kind of layer."""
    layers = {name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    affine = {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    return affine, {
        f"{layer}.{part}"
        for layer in layers
        for part in ("running_mean", "running_var", "num_batches_tracked")
    }


def moved(before, after):
    return {name for name in after if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(("affine", "statistics"), PARTS)
@pytest.mark.parametrize("name", NETWORKS)
def test_exactly_the_intended_numbers_move(name, affine, statistics):
    model = a_network(name)
    optimizer = an_optimizer(model)  # once, before anything is frozen
    affine_names, statistics_names = batchnorm_names(model)
    everything = set(model.state_dict())
    still = (affine_names if affine else set()) | (statistics_names if statistics else set())
    for epoch in range(4):
        set_state = freeze_batchnorm if batchnorm_frozen(epoch, 4) else unfreeze_batchnorm
        assert set_state(model, affine=affine, statistics=statistics) == len(affine_names) / 2 > 15
        before = copy.deepcopy(model.state_dict())
        train_one_step(model, optimizer, epoch)
        assert moved(before, model.state_dict()) == (everything - still if epoch < 2 else everything)


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_neither_weight_decay_nor_filled_momentum_moves_what_is_frozen_later(kind, set_to_none):
    model = a_network("resnet18")
    optimizer = an_optimizer(model, kind)
    affine_names, _ = batchnorm_names(model)
    train_one_step(model, optimizer, 0)
    freeze_batchnorm(model, statistics=False)
    before = copy.deepcopy(model.state_dict())
    for step in range(2):
        train_one_step(model, optimizer, step, set_to_none=set_to_none)
    assert moved(before, model.state_dict()) == set(before) - affine_names
    unfreeze_batchnorm(model, statistics=False)
    train_one_step(model, optimizer, 3)
    assert moved(before, model.state_dict()) == set(before)


@pytest.mark.parametrize("name", NETWORKS)
def test_modules_parameters_and_names_stay_the_same(name):
    model = a_network(name)
    modules, parameters, names = list(model.modules()), list(model.parameters()), list(model.state_dict())
    freeze_batchnorm(model)
    unfreeze_batchnorm(model)
    assert all(old is new for old, new in zip(modules, model.modules(), strict=True))
    assert all(old is new for old, new in zip(parameters, model.parameters(), strict=True))
    assert list(model.state_dict()) == names
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any("train" in vars(module) for module in model.modules())


def test_statistics_stay_frozen_through_train_and_eval_and_their_children_do_not():
    model = a_network("efficientnet_lite0")
    freeze_batchnorm(model)
    for mode in (True, False, True):
        model.train(mode)
        for module in model.modules():
            assert module.training == (mode and not isinstance(module, nn.BatchNorm2d))


def test_frozen_statistics_normalize_the_batch():
    model = nn.Sequential(nn.BatchNorm1d(2)).train()
    batch = torch.tensor([[5.0, -5.0], [7.0, 5.0]])
    freeze_batchnorm(model)
    assert torch.allclose(model.train()(batch), batch, rtol=1e-4)
    unfreeze_batchnorm(model)
    assert torch.allclose(model(batch).mean(0), torch.zeros(2), atol=1e-4)


def test_unfreezing_takes_up_the_models_mode():
    model = nn.Sequential(nn.BatchNorm1d(2)).eval()
    freeze_batchnorm(model)
    unfreeze_batchnorm(model)
    assert not model[0].training
    assert model.train()[0].training


def test_a_copy_is_frozen_by_itself():
    model = nn.Sequential(nn.BatchNorm1d(2))
    freeze_batchnorm(model)
    twin = copy.deepcopy(model)
    unfreeze_batchnorm(model)
    assert (model.train()[0].training, twin.train()[0].training) == (True, False)
    assert twin[0].train.__self__ is twin[0]


def test_other_norms_are_left_alone():
    model = nn.Sequential(nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.InstanceNorm1d(2, affine=True))
    assert freeze_batchnorm(model) == 0
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert freeze_batchnorm(nn.Sequential(nn.BatchNorm1d(2, affine=False), nn.SyncBatchNorm(2))) == 2


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 200), st.integers(0, 100))
@example(100, 29)  # 0.29 * 100 is 28.999999999999996
def test_the_first_epochs_are_frozen_and_their_number_is_exact(num_epochs, percent):
    frozen = [batchnorm_frozen(epoch, num_epochs, fraction=percent / 100) for epoch in range(num_epochs)]
    assert sum(frozen) == percent * num_epochs // 100
    assert frozen == sorted(frozen, reverse=True)


def test_a_fraction_out_of_bounds():
    with pytest.raises(InputError, match=r"fraction=50 is outside 0 to 1\. .* 0\.5 is the first half\."):
        batchnorm_frozen(0, 10, fraction=50)


def _train_on_two_processes(rank, meeting, results):
    """One rank of a run that is wrapped unfrozen, frozen for two epochs, then free."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2))
    optimizer = an_optimizer(model)
    wrapped = nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
    weights = []
    for epoch in range(4):
        (freeze_batchnorm if epoch < 2 else unfreeze_batchnorm)(model)
        for step in range(2):
            rng = torch.Generator().manual_seed(10 * epoch + 2 * step + rank)  # other photos on each rank
            optimizer.zero_grad()
            wrapped.train()(torch.randn(4, 3, 6, 6, generator=rng)).square().mean().backward()
            optimizer.step()
        weights.append(model[1].weight.tolist())
    results.put(weights)
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_after_unfreezing(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    ranks = [
        context.Process(target=_train_on_two_processes, args=(rank, tmp_path / "meeting", results))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    first, second = results.get(timeout=120), results.get(timeout=120)
    for process in ranks:
        process.join(timeout=60)
    assert first == second
    assert first[0] == first[1] == [1.0] * 4
    assert first[3] != first[2] != first[1]
