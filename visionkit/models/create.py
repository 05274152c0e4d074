"""Registry of models by name, and their specs: the primitives from which `create_model` builds a model again."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.base import Model
from visionkit.option_checks import check_numbers
from visionkit.registry import Registry, suggest

ModelClass = TypeVar("ModelClass", bound=type[Model])
VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD


class ModelRegistry(Registry[type[Model]]):
    """Models by name.

    A registered class takes `(backbone, num_classes, *, ...)`, sets both as attributes, and declares its task as a
    class attribute (`task = "detection"`). Related options can be a group: a frozen dataclass, with an instance of it
    as the parameter's default. Registration gives the instances a `spec`.
    """

    def register(self, name: str) -> Callable[[ModelClass], ModelClass]:  # type: ignore[override]  # one name only
        """Register the decorated class as `name`, which is part of the `spec` of its instances."""
        add = super().register(name)

        def add_and_record(model_class: ModelClass) -> ModelClass:
            _record_arguments(model_class, name)
            add(model_class)
            return model_class

        return add_and_record


models = ModelRegistry("model", "visionkit.models")
register_model = models.register


def list_models(task: str | None = None) -> list[str]:
    """Return the names that `create_model` takes, sorted, with those of installed plugins.

    Args:
        task: "classification", "detection" or "segmentation"; None for the models of all tasks.

    Example:
        >>> import visionkit as vk
        >>> vk.list_models("classification")
        ['classifier']
    """
    return [name for name in models if task in (None, models.get(name).task)]


def create_model(name: str, backbone: Backbone, num_classes: int, **options: Any) -> Model:
    """Return a new model.

    Args:
        name: registered name ("faster_rcnn").
        backbone: result of `create_backbone`; it becomes a part of the model.
        num_classes: K, the number of classes without background.
        **options: options of the model, see its class. A group of options (`nms`) is its dataclass, or a dict of some
            of its fields; the other fields keep the model's defaults.

    Raises:
        ConfigError: there is no such model, or it has no such option.

    Example:
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none")
        >>> model = vk.create_model("faster_rcnn", backbone, num_classes=3, nms={"iou": 0.4})
        >>> model.spec["nms"]["iou"], model.spec["nms"]["max_detections"]
        (0.4, 100)
    """
    model_class = models.get(name)
    defaults = _option_defaults(model_class)
    for option in options:
        if option not in defaults:
            raise ConfigError(f"{name} has no option {option!r}{suggest(option, defaults)}")
    return model_class(backbone, num_classes, **{key: _option(key, options[key], defaults[key]) for key in options})


def _option_defaults(model_class: type[Model]) -> dict[str, Any]:
    """Return the default of each option, also of those that a class passes to its base class as `**options`."""
    parameters = list(inspect.signature(model_class).parameters.values())
    own = {parameter.name: parameter.default for parameter in parameters[2:] if parameter.kind is not VAR_KEYWORD}
    base = model_class.__base__
    if VAR_KEYWORD not in (parameter.kind for parameter in parameters) or base is None or not issubclass(base, Model):
        return own
    return {**_option_defaults(base), **own}


def _option(name: str, value: Any, default: Any) -> Any:
    """Return `value`; a dict for a group of options becomes the model's default group with these fields."""
    if not (isinstance(value, Mapping) and _is_group(default)):
        return value
    known = [field.name for field in fields(default)]
    for key in value:
        if key not in known:
            raise ConfigError(f"{name} has no option {key!r}{suggest(key, known)}")
    return replace(default, **{key: _with_tuples(item) for key, item in value.items()})


def _record_arguments(model_class: type[Model], name: str) -> None:
    """Set the registered name of a class, and make its instances keep their constructor's arguments (`Model.spec`)."""
    init = model_class.__init__
    signature = inspect.signature(init)
    passed_on = next((p.name for p in signature.parameters.values() if p.kind is VAR_KEYWORD), None)

    @functools.wraps(init)
    def init_and_record(self: Model, *args: Any, **kwargs: Any) -> None:
        check_numbers(0, **kwargs)  # no option of a model is negative
        init(self, *args, **kwargs)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        _, _, *arguments = bound.arguments.items()  # without self and the backbone
        own = {key: _primitive(value) for key, value in arguments if key != passed_on}
        # The registered base class has recorded the options that are passed on to it.
        inherited = self.__dict__.get("constructor_arguments", {}) if passed_on is not None else {}
        self.__dict__["constructor_arguments"] = {**inherited, **own}

    model_class.__init__ = init_and_record  # type: ignore[assignment,method-assign]  # wraps the class's own
    model_class.registered_name = name


def _is_group(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _primitive(value: Any) -> Any:
    """Return `value` with dicts in place of dataclasses, and lists in place of tuples."""
    if _is_group(value):
        return {field.name: _primitive(getattr(value, field.name)) for field in fields(value)}
    return [_primitive(item) for item in value] if isinstance(value, (list, tuple)) else value


def _with_tuples(value: Any) -> Any:
    """Return `value` with tuples in place of lists."""
    return tuple(_with_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
