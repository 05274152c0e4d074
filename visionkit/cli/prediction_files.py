"""Files that `visionkit predict` writes."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from PIL import Image, PngImagePlugin
from typing_extensions import Self

from visionkit.data.io.atomic_write import atomic_write, write_text
from visionkit.data.io.image_files import open_image
from visionkit.data.io.images import ImageArray
from visionkit.errors import DataError, VisionkitError, WriteError
from visionkit.pipelines.results import Result
from visionkit.report.draw import draw

SOFTWARE = "visionkit predict"
"""Text in the written images, by which they are recognized and may be overwritten."""


class PredictionFiles:
    """Folder of results. It is a context manager that writes predictions.json at the end.

    Until then each result is a line of predictions.jsonl, so that an interrupted command loses none. An image is never
    written onto an input, nor onto a file that was not written by an earlier prediction.

    Args:
        folder: the folder.
        images: the input images.

    Raises:
        VisionkitError: a result would be written onto another file.
        WriteError: the folder cannot be written.
    """

    def __init__(self, folder: Path, images: Sequence[Path]) -> None:
        self.folder, self.rows = folder, list[dict[str, Any]]()
        self.names = dict(zip(images, result_names(images), strict=True))
        self._inputs = {_identity(path) for path in images}
        for name in self.names.values():
            self._check(folder / name)
        self._stream = folder / "predictions.jsonl"
        self._lines = self._open()

    def write(self, path: Path, image: ImageArray, result: Result) -> None:
        """Write the result of one image: a line of predictions.jsonl, the drawn image, and images such as label maps.

        Raises:
            VisionkitError: see the class.
            WriteError: a file cannot be written.
        """
        name, images = self.names[path], result.images()
        files = {kind: f"{kind}/{name}" for kind in images}
        row = {**result.to_dict(), "image": str(path), "drawn": name, **files}
        try:
            self._lines.write(json.dumps(row) + "\n")
            self._lines.flush()
        except OSError as error:
            raise WriteError(f"{self._stream} cannot be written: {error.strerror}") from error
        self.rows.append(row)
        self._save(Image.fromarray(draw(result, image)), self.folder / name)
        for kind, content in images.items():
            self._check(self.folder / kind / name)
            self._save(content, self.folder / kind / name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lines.close()
        if error is None:
            write_text(self.folder / "predictions.json", json.dumps(self.rows, indent=1))
            self._stream.unlink(missing_ok=True)

    def _open(self) -> TextIO:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self._stream.open("w", encoding="utf-8")
        except OSError as error:
            raise WriteError(f"the output folder {self.folder} cannot be written: {error.strerror}") from error

    def _save(self, image: Image.Image, path: Path) -> None:
        note = PngImagePlugin.PngInfo()
        note.add_text("Software", SOFTWARE)
        with atomic_write(path) as file:
            image.save(file, "PNG", pnginfo=note)

    def _check(self, path: Path) -> None:
        """Check that nothing of the user is at the path of a result."""
        if not path.exists():
            return
        if _identity(path) in self._inputs:
            raise VisionkitError(f"{path} is an input, and a result would be written onto it\ngive another --output")
        if not _is_written_here(path):
            raise VisionkitError(
                f"{path} was not written by visionkit predict, and is not overwritten\ngive another --output"
            )


def result_names(images: Sequence[Path]) -> list[str]:
    """Return a different file name for each image. Equal names from different folders get a number."""
    names: dict[str, str] = {}
    for image in images:
        name, copy = f"{image.stem}.png", 1
        while name.casefold() in names:  # some file systems ignore the case
            copy += 1
            name = f"{image.stem}-{copy}.png"
        names[name.casefold()] = name
    return list(names.values())


def _identity(path: Path) -> tuple[int, int]:
    """Return what two paths of one file have in common, also if one is a link."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_written_here(path: Path) -> bool:
    try:
        with open_image(path) as image:
            return image.info.get("Software") == SOFTWARE
    except DataError:
        return False
