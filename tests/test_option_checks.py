import pytest
from visionkit.models.detection.parts.option_checks import check_at_least_one, check_rising, check_within_one

from visionkit.errors import ConfigError


def test_values_in_range_pass():
    check_at_least_one("rpn", batch_size=1, top_n=9)
    check_within_one("rpn", nms_iou=0.0, positive_fraction=1.0)
    check_rising("rpn", bg_iou=0.0, fg_iou=0.0)
    check_rising("rpn", bg_iou=0.3, fg_iou=1.0)


@pytest.mark.parametrize(
    ("check", "values", "message"),
    [
        (check_at_least_one, {"top_n": 3, "batch_size": 0}, "roi: batch_size=0 must be at least 1"),
        (check_within_one, {"nms_iou": 1.1}, r"roi: nms_iou=1\.1 must be within 0\.\.1"),
        (check_within_one, {"nms_iou": float("nan")}, "nms_iou=nan"),
        (
            check_rising,
            {"bg_iou": 0.5, "fg_iou": 0.4},
            r"bg_iou=0\.5, fg_iou=0\.4 must satisfy 0 <= bg_iou <= fg_iou <= 1",
        ),
        (check_rising, {"bg_iou": 0.5, "fg_iou": 1.5}, r"fg_iou=1\.5"),
        (check_rising, {"bg_iou": -0.5, "fg_iou": 0.5}, r"bg_iou=-0\.5"),
    ],
)
def test_the_message_names_group_option_and_range(check, values, message):
    with pytest.raises(ConfigError, match=message):
        check("roi", **values)
