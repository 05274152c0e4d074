"""Tasks of Label Studio with shapes of all kinds, for two images of 5 x 3 pixels."""

from tests.helpers.brush_code import CODE

SIZE = (5, 3)
"""Width and height of the images."""


def result(kind, **value):
    sides = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
    return {"type": kind, **sides, "value": {**value, kind: ["cat"]}}


RESULTS = [
    result("rectanglelabels", x=0, y=0, width=50, height=50, rotation=30),
    result("polygonlabels", points=[[0, 0], [50, 0], [50, 100]]),
    result("ellipselabels", x=50, y=50, radiusX=25, radiusY=25, rotation=0),
    result("brushlabels", format="rle", rle=CODE),
    result("keypointlabels", x=50, y=50, width=1),
]
DATES = {"created_at": "2024-01-01", "updated_at": "2024-01-02", "was_cancelled": False}
TASKS = [
    {"id": 1, "data": {"image": "/data/upload/1/a.png"}, "annotations": [{**DATES, "result": RESULTS}, {"result": []}]},
    {"id": 2, "image": "s3://x/b.png?a=b", "annotation_id": 3, "tag": [RESULTS[0]["value"]], **DATES},
]
