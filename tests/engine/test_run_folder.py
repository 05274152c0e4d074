import pytest
import yaml

from visionkit.engine.run_folder import latest_checkpoint, new_run_folder, write_recipe
from visionkit.errors import VisionkitError


def test_run_folders_are_numbered_and_never_shared(tmp_path):
    folders = [new_run_folder("r", tmp_path) for _ in range(2)]
    (tmp_path / "r" / "10").mkdir()
    folders.append(new_run_folder("r", tmp_path))
    assert [folder.name for folder in folders] == ["1", "2", "11"]


def test_the_latest_checkpoint_is_that_of_the_run_with_the_highest_number(tmp_path):
    for number in (2, 10):
        (tmp_path / "r" / str(number)).mkdir(parents=True)
        (tmp_path / "r" / str(number) / "last.ckpt").touch()
    assert latest_checkpoint("r", tmp_path).parent.name == "10"
    with pytest.raises(VisionkitError, match="nothing to resume"):
        latest_checkpoint("other", tmp_path)


def test_a_folder_that_cannot_be_made_raises(tmp_path):
    (tmp_path / "r").write_text("a file")
    with pytest.raises(VisionkitError, match="cannot be written"):
        new_run_folder("r", tmp_path)


def test_the_recipe_is_written_in_its_order(tmp_path):
    recipe = {"task": "detection", "data": {"class_names": ["Käfer", "bee"]}, "a": None}
    write_recipe(recipe, tmp_path)
    assert list(yaml.safe_load((tmp_path / "recipe.yaml").read_text())) == ["task", "data", "a"]
    assert "Käfer" in (tmp_path / "recipe.yaml").read_text()
