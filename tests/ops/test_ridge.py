import pytest
import torch

from visionkit.ops.ridge import Ridge

linear_model = pytest.importorskip("sklearn.linear_model")


def examples(number, features):
    generator = torch.Generator().manual_seed(number)
    inputs = 3 + torch.randn(number, features, generator=generator)
    outputs = inputs @ torch.randn(features, 4, generator=generator) - 7 + torch.randn(number, 4, generator=generator)
    return inputs, outputs


@pytest.mark.parametrize("number", [1, 5, 12, 13, 80])
@pytest.mark.parametrize("part", [3, 100])
def test_it_equals_scikit_learns_whether_examples_or_features_are_fewer(number, part):
    inputs, outputs = examples(number, 12)
    ridge = Ridge(10.0)
    for given, wanted in zip(inputs.split(part), outputs.split(part), strict=True):
        ridge.add(given, wanted)
    weight, bias = ridge.solve()
    reference = linear_model.Ridge(alpha=10.0).fit(inputs.double().numpy(), outputs.double().numpy())
    torch.testing.assert_close(weight, torch.from_numpy(reference.coef_).float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(bias, torch.from_numpy(reference.intercept_).float(), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("part", [1, 5, 13])
def test_products_of_many_examples_at_once_are_those_of_each_part(part, monkeypatch):
    inputs, outputs = examples(80, 12)
    in_parts, by_part, folded, fold = Ridge(10.0), Ridge(10.0), [], Ridge._fold
    for given, wanted in zip(inputs.split(part), outputs.split(part), strict=True):
        by_part.add(given, wanted)
        if by_part._pending:
            by_part._fold()
    monkeypatch.setattr(Ridge, "_fold", lambda ridge: (folded.append(ridge._pending), fold(ridge)))
    for given, wanted in zip(inputs.split(part), outputs.split(part), strict=True):
        in_parts.add(given, wanted)
        assert in_parts._pending <= 12
    torch.testing.assert_close(in_parts.solve(), by_part.solve(), atol=1e-6, rtol=1e-5)
    assert sum(folded) == 80
    assert len(folded) <= 7, "one for every 13 examples, and one for the rest"


def test_what_is_held_does_not_grow_with_the_examples():
    ridge = Ridge(10.0)
    for inputs, outputs in (examples(number, 12) for number in (7, 8, 9, 10)):
        ridge.add(inputs, outputs)
    assert ridge.examples == 34
    assert not ridge._inputs
    assert ridge._products.shape == (13, 17)
