"""HTML pages made of templates, and their files."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from visionkit.data.io.atomic_write import write_text
from visionkit.errors import ConfigError
from visionkit.structures import Color


def template(name: str) -> Template:
    """Return a template of the folder `templates`. Values are escaped, and unknown names raise an error."""
    environment = Environment(
        loader=PackageLoader("visionkit.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def check_overwritten(path: Path, generator: str) -> None:
    """Check that a page does not overwrite a file of another kind.

    Args:
        path: file of the page.
        generator: name of the command that writes it, which earlier pages have at their start.

    Raises:
        ConfigError: the file exists and is not such a page.
    """
    if path.exists() and not (path.is_file() and _is_page(path, generator)):
        raise ConfigError(f"{path} was not written by {generator}, and is not overwritten\ngive another --output")


def write_page(path: Path, page: str) -> None:
    """Write a page. Names of files in another encoding hold half surrogate pairs, which are written as escapes."""
    write_text(path, page.encode("utf-8", "backslashreplace").decode())


def css_colors(colors: Sequence[Color]) -> list[str]:
    """Return colors in the notation of CSS."""
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in colors]


def _is_page(path: Path, generator: str) -> bool:
    with path.open("rb") as file:
        return generator.encode() in file.read(1000)
