"""Options of packed data: the order of its images in training, and the cache of remote data."""

import os
from dataclasses import dataclass
from pathlib import Path

from visionkit.option_checks import check_above, check_at_least

GIGABYTE = 10**9


@dataclass(frozen=True)
class StreamOptions:
    """Options of the format `packed`.

    Attributes:
        window: number of shards whose images are mixed. The shards of a split are shuffled, and then the images of each
            `window` of them. More mix better, and need more space in the cache.
        streams: number of parts in which the shards are read side by side, each by other nodes; None takes the number
            of nodes. The order of the images depends on it: set it to continue a run on another number of nodes.
        cache: folder for the files of remote data; None takes `visionkit/packed` in the user's cache folder.
        cache_gb: largest size of the shards in the cache, in gigabytes. Those that were not used for longest are
            removed.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> import visionkit as vk
        >>> vk.StreamOptions(cache="cache").cache_folder.name
        'cache'
    """

    window: int = 8
    streams: int | None = None
    cache: str | None = None
    cache_gb: float = 100.0

    def __post_init__(self) -> None:
        check_at_least(1, window=self.window, streams=self.streams)
        check_above(0, cache_gb=self.cache_gb)

    @property
    def cache_folder(self) -> Path:
        """Folder of the cache."""
        if self.cache is not None:
            return Path(self.cache)
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visionkit" / "packed"

    @property
    def cache_bytes(self) -> int:
        """Largest size of the shards in the cache, in bytes."""
        return int(self.cache_gb * GIGABYTE)
