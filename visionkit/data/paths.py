"""File names from annotations, which must not lead out of the data set."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from visionkit.errors import DataError

MOST_NAMED = 5


def existing_folder(root: Path | None, what: str) -> Path:
    """`root`, if it is a folder.

    Raises:
        DataError: it is not set or not there.
    """
    if root is None:
        raise DataError(f"{what} needs data.root, the folder of the data set")
    if not root.is_dir():
        raise DataError(f"the data folder {root} does not exist; set data.root=... or run: visionkit data download")
    return root


def existing_file(path: Path) -> Path:
    """`path`, if it is a file.

    Raises:
        DataError: it is not there.
    """
    if not path.is_file():
        raise DataError(f"there is no annotation file {path}")
    return path


def inside(folder: Path, names: Iterable[str], source: Path) -> list[Path]:
    """The paths that `names` mean below `folder`.

    Args:
        folder: where the pictures lie.
        names: relative file names.
        source: file the names come from, for messages.

    Raises:
        DataError: a name is absolute or leaves the folder, also through a link.
    """
    top = folder.resolve()
    found = []
    for name in names:
        path = folder / name
        if Path(name).is_absolute() or not path.resolve().is_relative_to(top):
            raise DataError(f"{source}: the file name {name!r} leads out of {folder}")
        found.append(path)
    return found


def refuse_missing(paths: Sequence[Path], source: Path) -> None:
    """Raise DataError that lists the paths which are no files, if there are any."""
    present: dict[Path, set[str]] = {}
    for folder in {path.parent for path in paths}:
        present[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    missing = [str(path) for path in paths if path.name not in present[path.parent]]
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        raise DataError(f"{source}: {len(missing)} pictures are missing: {', '.join(missing[:MOST_NAMED])}{more}")


def refuse_duplicates(names: Sequence[object], what: str, source: Path) -> None:
    """Raise DataError that lists the values which occur more than once, if there are any."""
    seen: set[object] = set()
    twice = sorted({str(name) for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]
    if twice:
        raise DataError(f"{source}: {len(twice)} {what} occur more than once: {', '.join(twice[:MOST_NAMED])}")
