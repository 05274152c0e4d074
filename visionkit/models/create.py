"""The names of the networks, and what makes each network able to describe itself."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.base import Model
from visionkit.registry import Registry, suggest

Network = TypeVar("Network", bound=type[Model])


class ModelRegistry(Registry[type[Model]]):
    """Networks by name.

    A registered class takes `(backbone, num_classes, *, ...)`, keeps the backbone as `self.backbone` and carries its
    task as class attribute (`task = "detection"`). Registering gives its instances a `spec`: the primitives from which
    `create_model` builds them again.
    """

    def register(self, name: str) -> Callable[[Network], Network]:  # type: ignore[override]
        """Enter the decorated class under `name`; the name goes into its instances' `spec`."""
        enter = super().register(name)

        def enter_and_record(network: Network) -> Network:
            _record_arguments(network, name)
            enter(network)
            return network

        return enter_and_record


models = ModelRegistry("model", "visionkit.models")


def create_model(name: str, backbone: Backbone, num_classes: int, **options: Any) -> Model:
    """Build a network by name.

    Args:
        name: registered name ("faster_rcnn").
        backbone: what `create_backbone` returns; it becomes part of the network.
        num_classes: K, the number of classes without background.
        **options: the network's own, see its class. A group of options (`nms`) is its dataclass, or a dict of some of
            its fields; the others keep the model's defaults.

    Raises:
        ConfigError: there is no such model, or a group has no such option.
    """
    model_class = models.get(name)
    return model_class(backbone, num_classes, **_with_option_groups(model_class, options))


def _with_option_groups(model_class: type[Model], options: dict[str, Any]) -> dict[str, Any]:
    """Return `options` with dicts replaced by the dataclass that is the default of their parameter."""
    parameters = {
        name: parameter
        for base in reversed(model_class.__mro__)
        if issubclass(base, Model)
        for name, parameter in inspect.signature(base).parameters.items()
    }
    return {
        name: _option_group(name, parameters[name].default, value)
        if isinstance(value, Mapping) and name in parameters and is_dataclass(parameters[name].default)
        else value
        for name, value in options.items()
    }


def _option_group(name: str, default: Any, values: Mapping[str, Any]) -> Any:
    known = [field.name for field in fields(default)]
    for key in values:
        if key not in known:
            raise ConfigError(f"{name} has no option {key!r}{suggest(key, known)}")
    return replace(default, **{key: _with_tuples(value) for key, value in values.items()})


def _record_arguments(network: type[Model], name: str) -> None:
    """Give `network` its registered name, and make its instances keep their constructor's arguments (`Model.spec`)."""
    build = network.__init__
    signature = inspect.signature(build)
    kinds = {parameter.kind: name for name, parameter in signature.parameters.items()}
    passed_on = kinds.get(inspect.Parameter.VAR_KEYWORD)  # to the registered base class, which has recorded them

    @functools.wraps(build)
    def build_and_record(self: Model, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        _, _, *arguments = bound.arguments.items()
        own = {key: _primitive(value) for key, value in arguments if key != passed_on}
        inherited = self.__dict__.get("constructor_arguments", {}) if passed_on is not None else {}
        self.__dict__["constructor_arguments"] = {**inherited, **own}

    network.__init__ = build_and_record  # type: ignore[assignment,method-assign]  # wraps the class's own
    network.registered_name = name


def _primitive(value: Any) -> Any:
    """Return `value` with dicts in place of dataclasses, and lists in place of tuples."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _primitive(getattr(value, field.name)) for field in fields(value)}
    return [_primitive(item) for item in value] if isinstance(value, (list, tuple)) else value


def _with_tuples(value: Any) -> Any:
    """Return `value` with tuples in place of lists."""
    return tuple(_with_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
