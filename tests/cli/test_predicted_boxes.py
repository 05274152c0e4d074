"""Memory that reading predicted boxes and masks takes."""

import tracemalloc

from visionkit.cli.predicted_boxes import _report_repeated


def test_the_search_for_repeated_rows_keeps_no_texts(tmp_path, caplog):
    mask = {"size": [1000, 1000], "counts": "0" * 10_000}
    rows = [{"image_id": 1, "category_id": 1, "score": number / 2000, "segmentation": mask} for number in range(1000)]
    tracemalloc.start()
    try:
        _report_repeated([*rows, rows[0]], tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "1 of 1001 predictions repeat an earlier one" in caplog.text
    assert peak < 1_000_000, "the texts have 10 million characters"
