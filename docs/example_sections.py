"""Extension of griffe: an `Example:` section of a docstring is shown like its `Examples:` sections, as code."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Renames `Example:` headings before docstrings are parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the heading in the docstring of a loaded object."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
