"""Reading the values of a whole network from a file: never unpickled, never copied in parts that do not fit."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from visionkit.backbones.weights import read_tensors
from visionkit.errors import CheckpointError

State = dict[str, Tensor]


def read_state(path: Path, translate: Callable[[State], State]) -> State:
    """Read a state dict of a whole network onto the CPU.

    Args:
        path: a checkpoint of visionkit, or a plain state dict.
        translate: renames the keys of a plain state dict; those of our own checkpoint need none.

    Raises:
        CheckpointError: the file is missing, broken, or holds anything but tensors under names.
    """
    content = read_tensors(path)
    if isinstance(content, Mapping) and "visionkit" in content and "state_dict" in content:
        prefix = "network."
        return {key.removeprefix(prefix): v for key, v in content["state_dict"].items() if key.startswith(prefix)}
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]  # torchvision's training scripts save {"model": ..., "optimizer": ..., ...}
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no state dict of a network and no visionkit checkpoint")
    return translate(dict(content))


def load_whole(network: nn.Module, state: State, source: str) -> None:
    """Load `state` into `network`; every parameter must be in it, and nothing else.

    BatchNorm's counter of batches may be missing: frozen layers do not save it, and it takes no part in the result.

    Raises:
        CheckpointError: keys are missing, unknown, or of another shape; nothing has been changed then.
    """
    own = network.state_dict()
    shapes = {key: f"{key} {list(state[key].shape)}" for key in own.keys() & state.keys()}
    problems = {
        "missing": sorted(key for key in own.keys() - state.keys() if not key.endswith("num_batches_tracked")),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": sorted(text for key, text in shapes.items() if own[key].shape != state[key].shape),
    }
    found = [f"{kind} ({len(keys)}): {', '.join(keys[:3])}" for kind, keys in problems.items() if keys]
    if found:
        raise CheckpointError("\n".join([f"{source} does not fit {type(network).__name__}", *found]))
    network.load_state_dict(state, strict=False)
