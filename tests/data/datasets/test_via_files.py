"""Files of the VGG Image Annotator."""

import json
import math
import time

import pytest

from visionkit.data.datasets.via_files import read_shape, read_via
from visionkit.errors import DataError

HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
RECT = {"name": "rect", "x": 24, "y": 12, "width": 16, "height": 24}
REGION = {"shape_attributes": RECT, "region_attributes": {"kind": "cat"}}
ROW = '"{""name"":""rect"",""x"":24,""y"":12,""width"":16,""height"":24}","{""kind"":""cat""}"'


def written(folder, content, name="a.json"):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


@pytest.mark.parametrize(
    "content",
    [
        {"a.jpg9": {"filename": "a.jpg", "size": 9, "regions": [REGION], "file_attributes": {}}},
        {"a.jpg9": {"filename": "a.jpg", "size": 9, "regions": {"0": REGION}, "base64_img_data": ""}},
        {"_via_settings": {}, "_via_img_metadata": {"a.jpg9": {"filename": "a.jpg", "regions": [REGION]}}},
    ],
)
def test_json_files_of_all_versions(content, tmp_path):
    (image,) = read_via(written(tmp_path, content))
    assert (image.name, image.shapes(), image.attributes()) == ("a.jpg", [RECT], [{"kind": "cat"}])


def test_csv_files(tmp_path):
    undefined = ROW.replace("cat", "undefined").replace('}"', ',""b"":undefined}"')
    rows = [f'a.jpg,9,"{{}}",1,0,{ROW}', f'a.jpg,9,"{{}}",1,1,{undefined}', 'b.jpg,9,"{}",0,0,"{}","{}"']
    first, second = read_via(written(tmp_path, "\n".join([f"#{HEADER}", *rows]), "a.csv"))
    assert first.attributes() == [{"kind": "cat"}, {"kind": "undefined"}]
    assert (first.shapes()[0], second.name, second.shapes()) == (RECT, "b.jpg", [])


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ([], "a.json", "is no file of VIA: it must have an object of images"),
        ({"a": 1}, "a.json", "entry 0 of the images must be an object"),
        ({"region": {}, "file": {}}, "a.json", "the image 'region' has no regions"),
        ({"project": {}, "config": {}, "metadata": {}}, "a.json", "is a project of VIA 3"),
        ({"a": {"regions": []}}, "a.json", "entry 0 of the images has no filename"),
        ({"a": {"filename": "a", "regions": 3}}, "a.json", "has the regions 3"),
        (
            {"a": {"filename": "a.jpg", "regions": [3]}},
            "a.json",
            r"entry 0 of the regions of 'a\.jpg' must be an object",
        ),
        ("a,b\n1,2\n", "a.csv", "has no column filename and region_shape_attributes and region_attributes"),
        (f"{HEADER}\na.jpg,9\n", "a.csv", "line 2: the number of columns is not 7"),
        (f'{HEADER}\na.jpg,9,"{{}}",1,0,"{{",b\n', "a.csv", "line 2: region_shape_attributes is not JSON"),
        (f'{HEADER}\na.jpg,9,"{{}}",1,0,{"[" * 100_000},b\n', "a.csv", "line 2: .* nested too deeply"),
        (f'{HEADER}\na.jpg,"9', "a.csv", "line 2 cannot be read as a CSV file"),
    ],
)
def test_other_files_are_refused(content, name, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read_via(written(tmp_path, content, name))


def test_long_texts_take_no_time(tmp_path):
    text = "undefined" + r"\"\"" * 30_000
    start = time.process_time()
    with pytest.raises(DataError, match="is not JSON"):
        read_via(written(tmp_path, f'{HEADER}\na.jpg,9,,1,0,{{}},"{text.replace(chr(34), chr(34) * 2)}"\n', "a.csv"))
    assert time.process_time() - start < 1


def test_shapes():
    assert read_shape(RECT, "x") == ((24, 12, 40, 36), [])
    assert read_shape({"name": "circle", "cx": 10, "cy": 20, "r": 5.5}, "x")[0] == pytest.approx(
        (4.5, 14.5, 15.5, 25.5)
    )
    flat = {"name": "ellipse", "cx": 10, "cy": 20, "rx": 5, "ry": 2}
    assert read_shape(flat, "x")[0] == pytest.approx((5, 18, 15, 22))
    assert read_shape({**flat, "theta": math.pi / 2}, "x")[0] == pytest.approx((8, 15, 12, 25))
    outline = {"name": "polygon", "all_points_x": [1, 5, 3], "all_points_y": [2, 2, 4]}
    assert read_shape(outline, "x") == ((1, 2, 5, 4), [[1, 2, 5, 2, 3, 4]])


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"name": "rect", "x": 1, "y": 2}, "a.json region 3 has no width and no height"),
        ({**RECT, "x": None}, r"has the coordinates \[None, 12, 16, 24\]; they must be finite numbers"),
        ({**RECT, "x": math.nan}, "finite"),
        ({"name": "circle", "cx": 1, "cy": 2, "r": 10**400}, "finite"),
        ({"name": "ellipse", "cx": 1, "cy": 2, "rx": 1, "ry": 1, "theta": "0"}, "finite"),
        ({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]}, "of the same length"),
        ({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}, "polygon of 2 points"),
    ],
)
def test_malformed_shapes_are_refused_with_their_place(shape, said):
    with pytest.raises(DataError, match=said):
        read_shape(shape, "a.json region 3")
