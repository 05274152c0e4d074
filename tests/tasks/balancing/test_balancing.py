"""Each way to balance losses, beside a small computation of what its paper says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visionkit.errors import ConfigError
from visionkit.ops.shared_gradients import cosine_similarities, project_conflicting, shared_gradients
from visionkit.tasks.balancing import balancers

HEADS = ["objects", "regions", "tags"]


def create(name, **options):
    return balancers.get(name)(HEADS, **options)


def two_layers(seed=0):
    """Return shared parameters, and losses of three heads that depend on them."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(3, 3, generator=generator, requires_grad=True) for _ in range(2))
    x = torch.randn(5, 3, generator=generator)
    hidden = torch.tanh(x @ first) @ second
    targets = torch.randn(5, 3, generator=generator)
    losses = {name: (hidden[:, k] - targets[:, k]).square().mean() for k, name in enumerate(HEADS)}
    return [first, second], losses


def gradient(loss, shared):
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, shared, retain_graph=True)])


def test_every_way_is_registered():
    assert set(balancers) == {"fixed", "gradnorm", "pcgrad", "uncertainty"}


@pytest.mark.parametrize("name", ["fixed", "gradnorm", "pcgrad", "uncertainty"])
class TestEveryWay:
    def test_the_first_value_is_the_weighted_sum(self, name):
        shared, losses = two_layers()
        value = create(name, weights={"tags": 0.25})(losses, shared)
        torch.testing.assert_close(value, losses["objects"] + losses["regions"] + 0.25 * losses["tags"])

    def test_a_head_with_weight_0_changes_nothing(self, name):
        shared, losses = two_layers()
        with_it = create(name, weights={"tags": 0})(losses, shared)
        without = create(name)({key: losses[key] for key in HEADS[:2]}, shared)
        torch.testing.assert_close(gradient(with_it, shared), gradient(without, shared))

    def test_a_head_without_labels_may_be_missing(self, name):
        shared, losses = two_layers()
        del losses["regions"]
        torch.testing.assert_close(create(name)(losses, shared), losses["objects"] + losses["tags"])

    def test_heads_of_other_names_are_refused(self, name):
        with pytest.raises(ConfigError, match="no head 'tag'; did you mean tags"):
            create(name, weights={"tag": 1.0})
        with pytest.raises(ConfigError, match="at least 0"):
            create(name, weights={"tags": -1.0})

    def test_its_state_is_restored(self, name):
        shared, losses = two_layers()
        balance, other = create(name), create(name)
        for _ in range(3):
            balance(losses, shared).backward(retain_graph=True)
        other.load_state_dict(balance.state_dict())
        torch.manual_seed(0)
        first = balance(losses, shared)
        torch.manual_seed(0)
        assert torch.equal(first, other(losses, shared))


@pytest.mark.parametrize("name", ["fixed", "gradnorm", "pcgrad"])
def test_one_head_has_its_own_gradient(name):
    shared, losses = two_layers()
    only = {"objects": losses["objects"]}
    assert torch.equal(gradient(create(name)(only, shared), shared), gradient(losses["objects"], shared))


def test_uncertainty_finds_the_variances_of_the_losses():
    balance = create("uncertainty")
    values = {"objects": torch.tensor(4.0), "regions": torch.tensor(0.5), "tags": torch.tensor(0.01)}
    optimizer = torch.optim.SGD(balance.parameters(), lr=0.1)
    for _ in range(2000):
        optimizer.zero_grad()
        balance(values, []).backward()
        optimizer.step()
    for name, value in values.items():  # the minimum of exp(-s) L + s / 2
        torch.testing.assert_close(balance.log_variances[name].exp().item(), 2 * value.item(), rtol=1e-3, atol=0)


def test_gradnorm_makes_the_step_of_its_algorithm():
    shared, losses = two_layers()
    balance = create("gradnorm", alpha=1.5, lr=0.01)
    balance(losses, shared)
    before, first = balance.learned.clone(), balance.first.clone()
    later = {name: loss * factor for (name, loss), factor in zip(losses.items(), (0.5, 1.0, 2.0), strict=True)}
    balance(later, shared)

    weights = before.clone().requires_grad_()
    norms = torch.stack([gradient(loss, shared).norm() for loss in later.values()])
    lengths = weights * norms
    rates = torch.stack(list(later.values())).detach() / first
    targets = (lengths.mean() * (rates / rates.mean()) ** 1.5).detach()
    (lengths - targets).abs().sum().backward()
    stepped = before - 0.01 * weights.grad
    torch.testing.assert_close(balance.learned, 3 * stepped / stepped.sum())


def test_gradnorm_learns_in_training_only():
    shared, losses = two_layers()
    balance = create("gradnorm").eval()
    balance(losses, shared)
    assert balance.learned.tolist() == [1, 1, 1]
    assert balance.first.tolist() == [0, 0, 0]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(1, 5))
def test_pcgrad_is_its_algorithm(seed, tasks, size):
    gradients = torch.randn(tasks, size, generator=torch.Generator().manual_seed(seed))
    found = project_conflicting(gradients, torch.Generator().manual_seed(seed))
    order = torch.Generator().manual_seed(seed)
    for task in range(tasks):
        own = gradients[task].clone()
        for other in torch.randperm(tasks, generator=order).tolist():
            product = sum(a * b for a, b in zip(own.tolist(), gradients[other].tolist(), strict=True))
            if other != task and product < 0:
                own = own - product / sum(b * b for b in gradients[other].tolist()) * gradients[other]
        torch.testing.assert_close(found[task], own, rtol=1e-4, atol=1e-5)


def test_pcgrad_changes_the_gradients_of_the_shared_parameters_alone():
    shared = torch.tensor([1.0, 1.0], requires_grad=True)
    own = torch.tensor([2.0], requires_grad=True)
    losses = {"objects": shared[0] * own.sum(), "tags": -shared[0] + shared[1]}
    total = create("pcgrad")(losses, [shared])
    torch.testing.assert_close(total, losses["objects"] + losses["tags"])
    total.backward()
    assert own.grad.tolist() == [1.0]
    assert shared.grad.tolist() == [1.0, 2.0]  # (2, 0) becomes (1, 1), and (-1, 1) becomes (0, 1)


def test_similarities_show_conflicts():
    shared = torch.zeros(2, requires_grad=True)
    losses = [shared[0], -3 * shared[0], shared[1], torch.tensor(1.0)]
    found = cosine_similarities(shared_gradients(losses, [shared]))
    assert found.tolist() == [[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_the_state_of_gradnorm_is_finite_if_a_head_never_has_labels():
    """A checkpoint with a value that is not finite cannot be loaded."""
    shared, losses = two_layers()
    del losses["tags"]
    balance = create("gradnorm")
    for _ in range(2):
        balance(losses, shared)
    assert all(value.isfinite().all() for value in balance.state_dict().values())
    assert (balance.first > 0).tolist() == [True, True, False]
