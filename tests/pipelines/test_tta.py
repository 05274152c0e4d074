"""Views at several scales and mirrored: boxes return to original pixels and are fused as computed by hand."""

import pytest
import torch
from torch import nn

from tests.helpers.detectors import small_network
from tests.helpers.every_detector import SMALL, small
from tests.helpers.small_detector import SIZE, small_data, small_task
from tests.helpers.small_trainer import small_trainer
from visionkit.backbones import create_backbone
from visionkit.data.datasets.shapes import SHAPE_OUTLINES
from visionkit.errors import ConfigError
from visionkit.models import create_model
from visionkit.models.base import DetectionModel
from visionkit.ops.box_fusion import fuse_boxes
from visionkit.ops.boxes import mirrored
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.pipelines.detection import DetectionInferenceOptions, DetectionPipeline
from visionkit.preprocessing.detection import DetectionPreprocessOptions

NAMES = list(SHAPE_OUTLINES)
OBJECT = [8.0, 4.0, 24.0, 28.0]
"""Of an image 64 pixels wide, nearer to its left side; its sides fall on whole pixels at every scale below."""

FITS = {
    "sides": {"short_side": 80, "long_side": 200},
    "squash": {"size": [160, 64]},
    "letterbox": {"size": [96, 64], "fit": "letterbox"},
    "letterbox with odd margins": {"size": [40, 79], "fit": "letterbox"},
    "multi-scale training": {"size": [96, 96], "fit": "letterbox", "multi_scale": [32, 96]},
}


class BrightSpot(DetectionModel):
    """Detects the bright rectangle of an image as class 1 with a score of 0.8; `seen` are the sizes of its inputs."""

    def __init__(self, only_left=False):
        super().__init__()
        self.backbone, self.seen, self.only_left = nn.Identity(), [], only_left

    def forward(self, images, targets=None, proposals=None):
        return [self.found(image) for image in images]

    def found(self, image):
        self.seen.append(tuple(image.shape[-2:]))
        rows, columns = torch.where(image[0] > 0)
        box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        is_left = box[0] + box[2] < image.shape[-1]
        number = int(is_left or not self.only_left)
        return {
            "boxes": box.expand(number, 4),
            "scores": torch.full((number,), 0.8),
            "labels": torch.full((number,), 1),
        }


class Echo(DetectionModel):
    """Returns the given detections if the input has no dark pixel."""

    takes_proposals = True

    def __init__(self):
        super().__init__()
        self.backbone, self.views = nn.Identity(), 0

    def forward(self, images, targets=None, proposals=None):
        self.views += 1
        found = []
        for image, (box,) in zip(images, proposals, strict=True):
            left, top, right, bottom = box.round().int().tolist()
            number = int((image[0, top:bottom, left:right] > 0).all())
            scores, labels = torch.full((number,), 0.8), torch.full((number,), 1)
            found.append({"boxes": box.expand(number, 4), "scores": scores, "labels": labels})
        return found


def spotted(height=40, width=64):
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    left, top, right, bottom = map(int, OBJECT)
    image[:, top:bottom, left:right] = 255
    return image


def pipeline_of(network, preprocess, **inference):
    options = DetectionPreprocessOptions(mean=[0.5] * 3, std=[0.5] * 3, **preprocess)
    return DetectionPipeline(
        network, NAMES, preprocess=options, inference=DetectionInferenceOptions(**inference)
    ).eval()


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_every_view_brings_its_boxes_back_to_the_image(fit):
    network = BrightSpot()
    task = pipeline_of(network, fit, tta_scales=[0.5, 1.0, 2.0], flip=True)
    (found,) = task([spotted()])
    assert len(set(network.seen)) == 3
    assert len(network.seen) == 6
    assert found["labels"].tolist() == [1]
    assert found["scores"].tolist() == pytest.approx([0.8])
    torch.testing.assert_close(found["boxes"], torch.tensor([OBJECT]), atol=0.5 if "size" in fit else 1e-3, rtol=0)


@pytest.mark.parametrize("scale", [0.5, 2.0])
@pytest.mark.parametrize("fit", ["sides", "squash", "letterbox"])
def test_where_pixels_meet_boxes_come_back_exactly(fit, scale):
    for flip in (False, True):
        (found,) = pipeline_of(BrightSpot(), FITS[fit], tta_scales=[scale], flip=flip)([spotted()])
        torch.testing.assert_close(found["boxes"], torch.tensor([OBJECT]), atol=1e-3, rtol=0)


def test_what_half_of_the_views_miss_has_half_the_score():
    (found,) = pipeline_of(BrightSpot(only_left=True), FITS["sides"], tta_scales=[1.0, 1.5], flip=True)([spotted()])
    assert found["scores"].tolist() == pytest.approx([0.8 * 2 / 4])


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_proposals_follow_scale_and_mirror(fit):
    network = Echo()
    task = pipeline_of(network, fit, tta_scales=[0.5, 1.0], flip=True)
    inside = torch.tensor([OBJECT]) + torch.tensor([4.0, 4, -4, -4])
    (found,) = task([spotted()], [{"proposals": inside}])
    assert network.views == 4
    assert found["scores"].tolist() == pytest.approx([0.8])
    torch.testing.assert_close(found["boxes"], inside, atol=1e-3, rtol=0)


def test_proposals_of_a_new_image_are_searched_once(monkeypatch):
    searched = []

    def search(image, mode):
        searched.append(mode)
        return torch.tensor([OBJECT]).numpy()

    monkeypatch.setattr("visionkit.data.proposals.proposal_source.selective_search", search)
    (found,) = pipeline_of(Echo(), FITS["letterbox"], tta_scales=[1.0, 2.0], flip=True)([spotted()])
    assert searched == ["fast"]
    assert len(found["boxes"]) == 1


def test_a_single_view_is_not_fused(monkeypatch):
    monkeypatch.setattr("visionkit.pipelines.detection.fuse_boxes", None)
    task = small_task(NAMES).eval()
    image = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8)
    with torch.inference_mode():
        (found,) = task([image])
        prepared, geometries = task.preprocessing([image])
        expected = task.preprocessing.restore(task.network(prepared), geometries)[0]
    assert len(found["boxes"])
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_views_of_a_real_network_are_fused_as_by_hand():
    task = small_task(
        NAMES, inference=DetectionInferenceOptions(tta_scales=[1.0, 1.5], flip=True, fusion_iou=0.4)
    ).eval()
    single, larger = (
        small_task(NAMES).eval(),
        small_task(NAMES, preprocess=DetectionPreprocessOptions(short_side=96, long_side=192)),
    )
    for other in (single, larger.eval()):
        other.load_state_dict(task.state_dict())
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((50, 70), (64, 64))]
    with torch.inference_mode():
        found = task(images)
        for image, fused in zip(images, found, strict=True):
            views = []
            for other in (single, larger):
                views.append(other([image])[0])
                turned = other([image.flip(-1)])[0]
                views.append({**turned, "boxes": mirrored(turned["boxes"], image.shape[-1])})
            columns = [Candidates(view["boxes"], view["scores"], view["labels"]) for view in views]
            expected = fuse_boxes(columns, 0.4)
            assert len(fused["scores"]) == min(len(expected.scores), task.network.roi_heads.nms.max_detections)
            for name, column in expected._asdict().items():
                torch.testing.assert_close(fused[name], column[: len(fused[name])], atol=1e-3, rtol=1e-4)


class Scatter(DetectionModel):
    """Detects three objects, different ones in every view; returns at most four."""

    def __init__(self):
        super().__init__()
        self.backbone, self.calls = nn.Identity(), 0

    @property
    def nms_options(self):
        return NMSOptions(max_detections=4)

    def forward(self, images, targets=None, proposals=None):
        self.calls += 1
        corners = torch.arange(3.0)[:, None] * 20 + torch.tensor([0.0, 5 * self.calls])
        scores = torch.tensor([0.9, 0.8, 0.1]) / self.calls
        return [{"boxes": torch.cat([corners, corners + 4], 1), "scores": scores, "labels": torch.zeros(3).long()}]


def test_no_more_is_kept_than_max_detections():
    (found,) = pipeline_of(Scatter(), {"short_side": 100, "long_side": 100}, tta_scales=[1.0, 2.0])([spotted(100, 100)])
    assert found["scores"].tolist() == pytest.approx([0.45, 0.4, 0.225, 0.2])


@pytest.mark.parametrize(
    ("network", "most"),
    [
        (lambda: small_network(nms={"max_detections": 7}), 7),
        (
            lambda: create_model(
                "retinanet", create_backbone("resnet18", weights="none"), 3, nms={"max_detections": 8}
            ),
            8,
        ),
        (BrightSpot, None),
    ],
)
def test_the_most_detections_per_image_are_known(network, most):
    assert DetectionPipeline(network(), ["a", "b", "c"]).max_detections == most


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_detector_declares_its_most_detections(name):
    assert small(name).nms_options.max_detections in (100, 200, 300)


def test_validation_uses_one_view_and_testing_all(tmp_path):
    task = small_task(NAMES, inference=DetectionInferenceOptions(tta_scales=[0.5, 1.0], flip=True))
    sizes = []
    task.backbone.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[-1]))
    trainer = small_trainer(default_root_dir=tmp_path)
    trainer.validate(task, small_data(val=2), verbose=False)
    assert sizes == [SIZE]
    sizes.clear()
    trainer.test(task, small_data(val=2), verbose=False)
    assert sizes == [SIZE // 2, SIZE // 2, SIZE, SIZE]


def test_masks_are_refused_before_anything_runs():
    backbone = create_backbone("resnet18", weights="none")
    network = create_model("mask_rcnn", backbone, 6, fpn_channels=16, head_channels=16, mask_channels=16)
    with pytest.raises(ConfigError, match=r"inference\.tta_scales and flip: .* MaskRCNN also predicts masks"):
        DetectionPipeline(network, NAMES, inference=DetectionInferenceOptions(flip=True))
    pipeline = DetectionPipeline(network, NAMES, inference=DetectionInferenceOptions(tta_scales=[1.5]))
    with pytest.raises(ConfigError, match="use one view"):
        pipeline.set_inference(DetectionInferenceOptions(tta_scales=[1.0, 1.5]))


@pytest.mark.parametrize(
    "options", [{"tta_scales": []}, {"tta_scales": [1.0, 0.0]}, {"fusion_iou": 1.5}, {"score_threshold": -0.1}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        DetectionInferenceOptions(**options)
