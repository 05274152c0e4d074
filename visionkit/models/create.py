"""The names of the networks, and what makes each network able to describe itself."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from visionkit.backbones.base import Backbone
from visionkit.models.base import Model
from visionkit.registry import Registry

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
        **options: the network's own, see its class.

    Raises:
        ConfigError: there is no such model.
    """
    return models.get(name)(backbone, num_classes, **options)


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
    """`value` with lists in place of tuples."""
    return [_primitive(item) for item in value] if isinstance(value, (list, tuple)) else value
