"""Images of a split by the file names that predictions of other programs give."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePath, PurePosixPath


class ImageNames:
    """Images by file name, or by the end of their path where several images have the name.

    Accented letters are the same as one character and as letter and accent, which file systems write differently.

    Args:
        paths: path of each image; None for one without a file.

    Example:
        >>> from pathlib import Path
        >>> from visionkit.cli.image_names import ImageNames
        >>> names = ImageNames([Path("images/x/a.png"), Path("images/y/a.png"), Path("images/b.png")])
        >>> names.find("y/a.png"), names.find("b.png"), names.find("a.png"), names.find("c.png")
        ([1], [2], [0, 1], [])
    """

    def __init__(self, paths: Sequence[Path | None]) -> None:
        self._paths = [None if path is None else f"/{_normal(path)}" for path in paths]
        self._by_name: dict[str, list[int]] = {}
        for index, path in enumerate(self._paths):
            if path is not None:
                self._by_name.setdefault(path.rpartition("/")[2], []).append(index)

    def find(self, text: str) -> list[int]:
        """Return the images whose path is or ends with `text`."""
        text = _normal(PurePosixPath(text.replace("\\", "/")))
        candidates = self._by_name.get(text.rpartition("/")[2], [])
        return [index for index in candidates if str(self._paths[index]).endswith(f"/{text}")]

    def index(self, text: str) -> int:
        """Return the one image whose path is or ends with `text`.

        Raises:
            LookupError: there is none, or there are several; the message says which, without the name.
        """
        fitting = self.find(text)
        if len(fitting) != 1:
            several = "is the name of several images: give their folders too"
            raise LookupError(several if fitting else "is not in the split")
        return fitting[0]


def _normal(path: PurePath) -> str:
    """Return a path, which has no parts `.`, without a leading slash and with composed characters."""
    return unicodedata.normalize("NFC", path.as_posix().lstrip("/"))
