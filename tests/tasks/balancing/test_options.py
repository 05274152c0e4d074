"""Options of the balancing: every mistake is an error that names it."""

import pytest

import visionkit as vk
from visionkit.errors import ConfigError
from visionkit.tasks.balancing import balancers

HEADS = ["objects", "tags"]


def test_the_losses_have_fixed_and_equal_weights_by_default():
    balancer = vk.BalancingOptions().make(HEADS)
    assert type(balancer) is balancers.get("fixed")
    assert balancer.weights == {"objects": 1.0, "tags": 1.0}


@pytest.mark.parametrize("name", balancers)
def test_every_way_gets_its_weights(name):
    balancer = vk.BalancingOptions(name=name, weights={"tags": 0.25}).make(HEADS)
    assert type(balancer) is balancers.get(name)
    assert balancer.weights == {"objects": 1.0, "tags": 0.25}


def test_options_are_those_of_the_class():
    balancer = vk.BalancingOptions(name="gradnorm", options={"alpha": 0.5, "lr": 0.1}).make(HEADS)
    assert (balancer.alpha, balancer.lr) == (0.5, 0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "gradnrm"}, "unknown balancing 'gradnrm'; did you mean gradnorm"),
        ({"name": "gradnorm", "options": {"alfa": 1.0}}, "options: gradnorm has no option 'alfa'; did you mean alpha"),
        ({"name": "fixed", "options": {"alpha": 1.0}}, "options: fixed has no option 'alpha'"),
        ({"name": "gradnorm", "options": {"weights": 1.0}}, "gradnorm has no option 'weights'"),
        ({"name": "gradnorm", "options": {"heads": 1.0}}, "gradnorm has no option 'heads'"),
        ({"cosine_every": -1}, "cosine_every=-1 must be at least 0"),
        ({"weights": {"tags": -0.5}}, r"weights={'tags': -0.5} must be at least 0"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        vk.BalancingOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"tag": 1.0}}, "weights: there is no head 'tag'; did you mean tags"),
        ({"weights": {"objects": 0.0, "tags": 0.0}}, "weights: all are 0, so that nothing would be trained"),
        ({"name": "gradnorm", "options": {"lr": 0.0}}, "lr=0.0 must be above 0"),
    ],
)
def test_mistakes_that_depend_on_the_heads_are_named(options, message):
    given = vk.BalancingOptions(**options)
    with pytest.raises(ConfigError, match=message):
        given.make(HEADS)
