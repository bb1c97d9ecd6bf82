"""What every loss promises: one number per sample, right gradients, no overflow, no favored class."""

import pytest
import torch

from kiyome.errors import InputError
from kiyome.losses import LOSSES, EarlyLearning, make_loss

T = torch.tensor([[0.7, 0.2, 0.0, 0.1], [0.05, 0.9, 0.05, 0.0], [0.3, 0.3, 0.4, 0.0], [0.0, 0.0, 0.02, 0.98]])
OPTIONS = {
    "forward_correction": [{"transition_matrix": T}],
    "backward_correction": [{"transition_matrix": T}],
    "bi_tempered": [
        {},
        {"t1": 1.0, "t2": 1.0},
        {"t1": 0.5, "t2": 0.8},
        {"t1": 0.2, "t2": 4.0},
        {"label_smoothing": 0.1},
    ],
    "bootstrap": [{}, {"hard": True}],
    "cross_entropy": [{}, {"label_smoothing": 0.2}],
    "generalized_cross_entropy": [{}, {"q": 1.0}],
    "taylor_softmax": [{}, {"order": 6, "label_smoothing": 0.2}],
    "active_passive": [{}, {"active": "normalized_focal", "passive": "mean_absolute_error"}],
}


class FreshMemory:
    """ELR as a loss of logits and targets: a new memory for each call."""

    def __call__(self, logits, targets):
        loss_fn = EarlyLearning(num_rows=len(logits) + 1, num_classes=logits.shape[1])
        return loss_fn(logits, targets, torch.arange(len(logits)))


def loss_of(name, options):
    return FreshMemory() if name == "early_learning" else make_loss(name, **options)


EVERY = [(name, options) for name in LOSSES for options in OPTIONS.get(name, [{}])]
every_loss = pytest.mark.parametrize(
    ("name", "options"),
    EVERY,
    ids=[f"{n} {' '.join(map(str, o.values())) if len(str(o)) < 70 else ''}" for n, o in EVERY],
)
both_kinds = pytest.mark.parametrize("kind", ["hard", "soft"])


def a_batch(kind, *, seed=0, num=6, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(num, 4, generator=rng, dtype=dtype) * 2
    soft = torch.randn(num, 4, generator=rng, dtype=dtype).softmax(1)
    return logits, soft if kind == "soft" else torch.randint(0, 4, (num,), generator=rng)


@both_kinds
@every_loss
def test_gradient(name, options, kind):
    logits, targets = a_batch(kind)
    if name == "early_learning":  # beliefs are constants: hold them still
        memory = EarlyLearning(num_rows=6, num_classes=4, momentum=1.0)
        memory.beliefs = a_batch("soft", seed=1)[1]

        def loss_fn(z):
            return memory(z, targets, torch.arange(6))
    else:

        def loss_fn(z):
            return make_loss(name, **options)(z, targets)

    assert torch.autograd.gradcheck(loss_fn, logits.requires_grad_())


@both_kinds
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@every_loss
def test_extreme_logits_give_finite_losses_and_gradients(name, options, dtype, kind):
    extremes = [
        [6e4, -6e4, 0, 1],
        [-6e4, 6e4, 6e4, -6e4],
        [-6e4, -6e4, -6e4, 6e4],
        [300, -20, 20, 0],
        [6e4] * 4,
    ]
    logits = torch.tensor([row for row in extremes for _ in range(4)], dtype=dtype, requires_grad=True)
    hard = torch.arange(4).repeat(len(extremes))
    targets = hard if kind == "hard" else 0.7 * torch.eye(4)[hard] + 0.3 * torch.eye(4)[(hard + 1) % 4]
    losses = loss_of(name, options)(logits, targets)
    losses.sum().backward()
    assert losses.dtype == torch.float32
    assert losses.isfinite().all()
    assert logits.grad.isfinite().all()


@both_kinds
@every_loss
def test_autocast_changes_nothing(name, options, kind):
    logits, targets = a_batch(kind, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss_of(name, options)(logits, targets)
    assert torch.equal(inside, loss_of(name, options)(logits, targets))


@both_kinds
@every_loss
def test_one_number_per_sample_whatever_else_is_in_the_batch(name, options, kind):
    logits, targets = a_batch(kind)
    whole = loss_of(name, options)(logits, targets)
    alone = torch.cat([loss_of(name, options)(logits[i : i + 1], targets[i : i + 1]) for i in range(6)])
    assert whole.shape == (6,)
    assert torch.allclose(whole, alone, rtol=1e-12)
    assert loss_of(name, options)(logits[:0], targets[:0]).shape == (0,)


@every_loss
def test_a_hard_label_is_a_soft_one_with_all_on_one_class(name, options):
    logits, targets = a_batch("hard")
    one_hot = torch.eye(4)[targets]
    assert torch.allclose(
        loss_of(name, options)(logits, targets), loss_of(name, options)(logits, one_hot), rtol=1e-12
    )


@both_kinds
@every_loss
def test_no_class_is_favored(name, options, kind):
    logits, targets = a_batch(kind)
    order = torch.tensor([2, 0, 3, 1])
    permuted = {k: v[order][:, order] if k == "transition_matrix" else v for k, v in options.items()}
    moved = targets[:, order] if kind == "soft" else order.argsort()[targets]
    assert torch.allclose(
        loss_of(name, options)(logits, targets), loss_of(name, permuted)(logits[:, order], moved), rtol=1e-10
    )


@both_kinds
@every_loss
def test_a_shift_of_all_logits_changes_only_taylor_softmax(name, options, kind):
    logits, targets = a_batch(kind)
    before, after = (loss_of(name, options)(z, targets) for z in (logits, logits + 7))
    assert torch.allclose(before, after, rtol=1e-9) == (name != "taylor_softmax")


@pytest.mark.parametrize(
    "name", sorted(set(LOSSES) - {"early_learning", "forward_correction", "backward_correction"})
)
def test_logits_and_targets_that_do_not_fit(name):
    loss_fn, logits, labels = make_loss(name), torch.zeros(3, 4), torch.tensor([0, 1, 2])
    with pytest.raises(InputError, match=r"Targets are torch.int64 of shape \(2,\)"):
        loss_fn(logits, labels[:2])
    with pytest.raises(InputError, match=r"Targets are torch.float32 of shape \(3,\)"):
        loss_fn(logits, labels.float())
    with pytest.raises(InputError, match=r"Targets are torch.int64 of shape \(3, 4\)"):
        loss_fn(logits, torch.eye(4, dtype=torch.int64)[labels])
    with pytest.raises(InputError, match=r"Logits are torch.float32 of shape \(4,\)"):
        loss_fn(logits[0], labels)
    with pytest.raises(InputError, match=r"Logits are torch.float32 of shape \(3, 1\)"):
        loss_fn(logits[:, :1], labels)
    with pytest.raises(InputError, match=r"Logits are torch.int64"):
        loss_fn(logits.long(), labels)


@pytest.mark.parametrize("label", [-100, -1, 4])
@pytest.mark.parametrize("name", ["cross_entropy", "generalized_cross_entropy", "bi_tempered"])
def test_a_label_outside_the_classes_is_an_error_and_not_a_zero(name, label):
    with pytest.raises((IndexError, RuntimeError)):
        make_loss(name)(torch.zeros(2, 4), torch.tensor([0, label]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32], ids=str)
def test_labels_of_any_whole_type(dtype):
    logits, labels = a_batch("hard")
    for name in ("cross_entropy", "bi_tempered", "normalized_cross_entropy"):
        assert torch.equal(make_loss(name)(logits, labels), make_loss(name)(logits, labels.to(dtype)))
