import pytest

from visionkit.data.io.paths import find_missing, find_outside


@pytest.fixture
def folder(tmp_path):
    """A folder with an image, links that stay inside and links that do not."""
    inner = tmp_path / "set"
    (inner / "deep").mkdir(parents=True)
    (inner / "a.png").touch()
    (tmp_path / "secret.png").touch()
    (inner / "to_a.png").symlink_to(inner / "a.png")
    (inner / "to_secret.png").symlink_to(tmp_path / "secret.png")
    (inner / "to_outside").symlink_to(tmp_path, target_is_directory=True)
    (inner / "to_deep").symlink_to(inner / "deep", target_is_directory=True)
    return inner


@pytest.mark.parametrize(
    "name", ["a.png", "gone.png", "deep/b.png", "deep/../a.png", "to_a.png", "to_deep/b.png", "a..png", "."]
)
def test_names_that_stay(folder, name):
    assert find_outside(folder, [name]) == []


@pytest.mark.parametrize(
    "name",
    ["..", "../secret.png", "deep/../../secret.png", "/etc/passwd", "to_secret.png", "to_outside/secret.png",
     "to_outside", "deep/../..", "a\0.png", "../set2/a.png"],
)  # fmt: skip
def test_names_that_lead_out(folder, name):
    assert find_outside(folder, ["a.png", name, "deep/b.png"]) == [1]


def test_what_is_missing_is_told_by_number(folder):
    assert find_missing([folder / "a.png", folder / "gone.png", folder / "nowhere" / "a.png", folder / "deep"]) == [
        1,
        2,
    ]
