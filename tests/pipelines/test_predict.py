import numpy as np
import pytest
from PIL import Image

from tests.helpers.small_detector import small_task
from visionkit.data.datasets.shapes import SHAPE_OUTLINES, Shapes
from visionkit.errors import DataError
from visionkit.pipelines.detection import DetectionInferenceOptions


@pytest.fixture(scope="module")
def predictor():
    return small_task(list(SHAPE_OUTLINES)).pipeline.eval()


def test_paths_folders_arrays_and_lists_give_the_same(predictor, tmp_path):
    images = [Shapes(count=3, size=64)[index].image for index in range(3)]
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    from_folder = predictor.predict(tmp_path)
    from_arrays = predictor.predict(images)
    from_paths = predictor.predict([str(tmp_path / "0.png"), tmp_path / "1.png", images[2]])
    in_batches = predictor.predict(tmp_path, batch_size=3)
    for found in zip(from_folder, from_arrays, from_paths, in_batches, strict=True):
        assert len(found[0]) > 0
        for other in found[1:]:
            np.testing.assert_allclose(found[0].scores, other.scores, atol=1e-4)
    assert [found.source.name for found in from_folder] == ["0.png", "1.png", "2.png"]
    assert from_arrays[0].source is None


def test_a_threshold_keeps_boxes_names_and_scores_together(predictor):
    found = predictor.predict(Shapes(count=1, size=64)[0].image)[0]
    threshold = float(np.median(found.scores))
    kept = found.filter(threshold)
    assert 0 < len(kept) < len(found)
    assert (kept.scores >= threshold).all()
    assert kept.names == [list(SHAPE_OUTLINES)[label] for label in kept.labels]
    assert len(kept.to_dict()["detections"]) == len(kept)


def test_detections_are_shown_at_the_threshold_that_was_chosen_for_their_class():
    pipeline = small_task(list(SHAPE_OUTLINES)).pipeline.eval()
    assert pipeline.display_threshold == 0.5, "nothing was chosen before the training"
    pipeline.class_thresholds = [0.25, None, 0.75, 0.125, 0.0, 1.0]
    assert pipeline.display_threshold == [0.25, 0.5, 0.75, 0.125, 0.0, 1.0]
    found = pipeline.predict(Shapes(count=1, size=64)[0].image)[0]
    shown = found.filter(pipeline.display_threshold)
    wanted = [
        score >= pipeline.display_threshold[label] for score, label in zip(found.scores, found.labels, strict=True)
    ]
    assert shown.scores.tolist() == found.scores[wanted].tolist()
    assert 0 < len(shown) < len(found)
    pipeline.set_inference(DetectionInferenceOptions(score_threshold=0.3))
    assert pipeline.display_threshold == 0.3


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8)])
def test_arrays_of_another_form_are_refused(predictor, image):
    with pytest.raises(DataError, match="must be uint8"):
        predictor.predict(image)


def test_it_predicts_in_evaluation_mode_and_restores_all_modes(predictor):
    image = Shapes(count=1, size=64)[0].image
    expected = predictor.predict(image)[0].to_dict()
    predictor.train()
    predictor.network.backbone.eval()
    try:
        assert predictor.predict(image)[0].to_dict() == expected
        assert predictor.training
        assert predictor.network.training
        assert not predictor.network.backbone.training
    finally:
        predictor.eval()
