"""The memory is updated as in the paper, only for its rows, and survives a save."""

import pytest
import torch

from kiyome.errors import InputError, StaleArtifact
from kiyome.losses import EarlyLearning, cross_entropy, early_learning_penalty

ROWS, LABELS = torch.tensor([7, 2, 5]), torch.tensor([0, 1, 2])


def logits_of(step, dtype=torch.float32):
    return (torch.randn(3, 4, generator=torch.Generator().manual_seed(step)) * 2).to(dtype)


def plain_beliefs(steps, momentum):
    """Beliefs of one row after these p, by a loop over floats."""
    belief = [0.0] * 4
    for p in steps:
        clamped = [min(max(value, 1e-4), 1 - 1e-4) for value in p]
        belief = [
            momentum * b + (1 - momentum) * c / sum(clamped) for b, c in zip(belief, clamped, strict=True)
        ]
    return belief


def test_beliefs_are_a_moving_mean_of_each_rows_own_predictions():
    loss_fn = EarlyLearning(num_rows=9, num_classes=4, momentum=0.6)
    for step in range(4):
        loss_fn(logits_of(step), LABELS, ROWS)
    for i, row in enumerate(ROWS):
        expected = plain_beliefs([logits_of(step)[i].softmax(0).tolist() for step in range(4)], 0.6)
        assert loss_fn.beliefs[row].tolist() == pytest.approx(expected, abs=1e-6)
    untouched = [row for row in range(9) if row not in ROWS.tolist()]
    assert (loss_fn.beliefs[untouched] == 0).all()


def test_the_penalty_rewards_agreement_and_its_gradient_treats_beliefs_as_constants():
    beliefs = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64, requires_grad=True)
    logits = torch.tensor([[0.3, 0.2, 0.1]], dtype=torch.float64, requires_grad=True)
    early_learning_penalty(logits, beliefs).sum().backward()
    p = logits.detach().softmax(1)
    inner = (beliefs.detach() * p).sum()
    assert beliefs.grad is None
    assert torch.allclose(logits.grad, -p * (beliefs.detach() - inner) / (1 - inner))


def test_the_second_of_two_equal_calls_is_lower():
    loss_fn = EarlyLearning(num_rows=9, num_classes=4)
    first, second = (loss_fn(logits_of(0), LABELS, ROWS) for _ in range(2))
    assert (second < first).all()
    assert (first < cross_entropy(logits_of(0), LABELS)).all()


def test_soft_targets_change_the_cross_entropy_and_not_the_penalty():
    hard, soft = (EarlyLearning(num_rows=9, num_classes=4) for _ in range(2))
    shares = torch.tensor([[0.7, 0.1, 0.1, 0.1]] * 3)
    difference = soft(logits_of(0), shares, ROWS) - hard(logits_of(0), LABELS, ROWS)
    expected = cross_entropy(logits_of(0), shares) - cross_entropy(logits_of(0), LABELS)
    assert torch.allclose(difference, expected, atol=1e-6)
    assert torch.equal(hard.beliefs, soft.beliefs)


def test_a_resumed_memory_goes_on_bit_for_bit(tmp_path):
    def run(loss_fn, steps):
        return [loss_fn(logits_of(step), LABELS, ROWS) for step in steps]

    whole, first = (EarlyLearning(num_rows=9, num_classes=4) for _ in range(2))
    expected = run(whole, range(6))
    run(first, range(3))
    torch.save(first.state_dict(), tmp_path / "memory.pt")
    run(first, range(3))  # what is saved does not move with the memory
    second = EarlyLearning(num_rows=9, num_classes=4)
    second.load_state_dict(torch.load(tmp_path / "memory.pt", weights_only=True))
    for resumed, uninterrupted in zip(run(second, range(3, 6)), expected[3:], strict=True):
        assert torch.equal(resumed, uninterrupted)


def test_saved_states_are_copies():
    loss_fn = EarlyLearning(num_rows=9, num_classes=4)
    state = loss_fn.state_dict()
    loss_fn(logits_of(0), LABELS, ROWS)
    assert (state["beliefs"] == 0).all()
    loss_fn.load_state_dict(state)
    loss_fn(logits_of(0), LABELS, ROWS)
    assert (state["beliefs"] == 0).all()


def test_a_memory_of_another_table_is_refused():
    small, large = EarlyLearning(num_rows=8, num_classes=4), EarlyLearning(num_rows=9, num_classes=4)
    with pytest.raises(
        StaleArtifact,
        match=r"has the shapes .*\(8, 4\).* beliefs of shape \(9, 4\).* Resume with the table",
    ):
        large.load_state_dict(small.state_dict())
    with pytest.raises(StaleArtifact, match=r"has the shapes \{\}"):
        large.load_state_dict({})


def test_rows_that_do_not_fit():
    loss_fn = EarlyLearning(num_rows=9, num_classes=4)
    with pytest.raises(InputError, match=r"rows are torch.int64 of shape \(2,\) for 3 samples"):
        loss_fn(logits_of(0), LABELS, ROWS[:2])
    with pytest.raises(InputError, match=r"rows are torch.float32 of shape \(3,\)"):
        loss_fn(logits_of(0), LABELS, ROWS.float())
    for outside in (-1, 9):
        with pytest.raises((IndexError, RuntimeError)):
            loss_fn(logits_of(0), LABELS, torch.tensor([0, 1, outside]))


def test_half_precision_logits_leave_a_float32_memory():
    loss_fn = EarlyLearning(num_rows=9, num_classes=4)
    assert loss_fn(logits_of(0, torch.float16), LABELS, ROWS).dtype == torch.float32
    assert loss_fn.beliefs.dtype == torch.float32
    assert torch.allclose(loss_fn.beliefs[ROWS].sum(1), torch.full((3,), 0.3))


def test_a_batch_of_one():
    loss_fn = EarlyLearning(num_rows=9, num_classes=4)
    assert loss_fn(logits_of(0)[:1], LABELS[:1], ROWS[:1]).shape == (1,)
