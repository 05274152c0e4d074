"""Images by the file names of other programs."""

import unicodedata
from pathlib import Path

import pytest

from visionkit.cli.image_names import ImageNames

PATHS = [Path("images/x/a.png"), Path("images/y/a.png"), Path("images/b.png"), None]


@pytest.mark.parametrize(
    "text", ["b.png", "./b.png", ".\\b.png", "images/./b.png", "/images/b.png", "././images//b.png"]
)
def test_a_name_may_have_parts_that_lead_nowhere(text):
    assert ImageNames(PATHS).find(text) == [2]


@pytest.mark.parametrize("text", ["", ".", "./", "png", "../b.png", "c.png"])
def test_other_names_are_not_found(text):
    assert ImageNames(PATHS).find(text) == []


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("given", ["NFC", "NFD"])
def test_accents_may_be_composed_or_not(stored, given):
    names = ImageNames([Path("m\u00fcll", unicodedata.normalize(stored, "caf\u00e9.png")), Path("cafe.png")])
    assert names.index(unicodedata.normalize(given, "caf\u00e9.png")) == 0
    assert names.index(unicodedata.normalize(given, "m\u00fcll/caf\u00e9.png")) == 0
