"""Damaged and hostile files of annotation tools: a dataset returns samples, or raises VisionkitError soon."""

import copy
import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.hostile import BYTES, TEXTS, damaged, mutations, read_all, survives
from visionkit.data.datasets.createml import Createml
from visionkit.data.datasets.cvat import Cvat
from visionkit.data.datasets.labelme import Labelme
from visionkit.data.datasets.via import Via
from visionkit.errors import DataError

CORNERS = [[1, 1], [5, 1], [5, 4]]
LABELME = {
    "imagePath": "a.png",
    "imageHeight": 6,
    "imageWidth": 8,
    "imageData": None,
    "shapes": [
        {"label": "cat", "shape_type": "rectangle", "points": CORNERS[::2], "group_id": None, "flags": {}},
        {"label": "cat", "shape_type": "polygon", "points": CORNERS, "group_id": 1},
        {"label": "cat", "shape_type": "polygon", "points": [[0, 0], [3, 0], [3, 3]], "group_id": 1},
        {"label": "dog", "shape_type": "circle", "points": [[3, 3], [5, 3]]},
    ],
}
SHAPES = [
    {"name": "rect", "x": 1, "y": 1, "width": 4, "height": 3},
    {"name": "polygon", "all_points_x": [1, 5, 5], "all_points_y": [1, 1, 4]},
    {"name": "circle", "cx": 3, "cy": 3, "r": 2},
    {"name": "ellipse", "cx": 3, "cy": 3, "rx": 2, "ry": 1, "theta": 0.5},
]
REGIONS = [{"shape_attributes": shape, "region_attributes": {"kind": "cat"}} for shape in SHAPES]
VIA = {"_via_img_metadata": {"a.png9": {"filename": "a.png", "size": 9, "regions": REGIONS, "file_attributes": {}}}}
VIA_1 = {"a.png9": {"filename": "a.png", "regions": {"0": REGIONS[0], "1": REGIONS[1]}}}
VIA_CSV = (
    "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
    'a.png,9,"{}",2,0,"{""name"":""rect"",""x"":1,""y"":1,""width"":4,""height"":3}","{""kind"":""cat"",""b"":undefined}"\n'
    'a.png,9,"{}",2,1,"{""name"":""polygon"",""all_points_x"":[1,5,5],""all_points_y"":[1,1,4]}","{""kind"":""dog""}"\n'
)
CREATEML = [
    {
        "image": "a.png",
        "annotations": [
            {"label": "cat", "coordinates": {"x": 3, "y": 3, "width": 4, "height": 2}},
            {"label": "dog", "coordinates": {"x": 4, "y": 2, "width": 1.5, "height": 2}},
        ],
    }
]
CVAT = """<annotations><meta><task><subset>Train</subset><labels><label><name>cat</name><type>any</type></label>
</labels></task></meta><image id="0" name="a.png" subset="Train" width="8" height="6"><box label="cat" xtl="1"
ytl="1" xbr="5" ybr="4" rotation="30"/><polygon label="cat" points="1,1;5,1;5,4"/><ellipse label="cat" cx="3" cy="3"
rx="2" ry="1" rotation="10"/><mask label="cat"
rle="1, 2, 3" left="1" top="1" width="3" height="2"/></image></annotations>"""


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    return tmp_path


def written(folder, content, name="i.json"):
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def labelme(folder):
    return Labelme(folder, masks=True)


def via(folder, name="i.json"):
    return Via(folder, name, masks=True)


def createml(folder):
    return Createml(folder, "i.json")


def cvat(folder):
    return Cvat(folder, "i.xml", "", subset="Train", masks=True, rotated_boxes="hull")


JSON = {"labelme": (labelme, LABELME), "via": (via, VIA), "via 1": (via, VIA_1), "createml": (createml, CREATEML)}


def test_the_valid_files_are_read(folder):
    """Otherwise the tests below would change nothing that is read."""
    counts = {"labelme": 3, "via": 4, "via 1": 2, "createml": 2}
    for name, (read, content) in JSON.items():
        written(folder, content)
        assert len(read(folder)[0].annotation) == counts[name]
    written(folder, CVAT, "i.xml")
    assert len(cvat(folder)[0].annotation) == 4
    written(folder, VIA_CSV, "i.csv")
    assert len(via(folder, "i.csv")[0].annotation) == 2


@pytest.mark.parametrize("name", JSON)
@settings(settings.get_profile("hostile"), max_examples=200)
@given(data=st.data())
def test_json_values(folder, name, data):
    read, content = JSON[name]
    written(folder, data.draw(mutations(content)))
    survives(lambda: read_all(read(folder)))


XML_VALUES = [match.span() for match in re.finditer(r'(?<=")[^"]*(?=")|(?<=>)[^<>\s]+(?=<)', CVAT)]
XML_TEXTS = [*TEXTS, "1,2", "1,2;", "0, 6", "1e400", "1_0", "-0", "a\nb"]


@settings(settings.get_profile("hostile"), max_examples=300)
@given(place=st.sampled_from(XML_VALUES), value=st.sampled_from(XML_TEXTS) | st.text("0123456789,;.-e", max_size=9))
def test_xml_values(folder, place, value):
    start, end = place
    written(folder, CVAT[:start] + value + CVAT[end:], "i.xml")
    survives(lambda: read_all(cvat(folder)))


@settings(settings.get_profile("hostile"), max_examples=200)
@given(changes=BYTES, cut=st.just(0) | st.integers(0, 10**4))
def test_bytes(folder, changes, cut):
    for read, content in JSON.values():
        (folder / "i.json").write_bytes(damaged(json.dumps(content).encode(), changes, cut))
        survives(lambda read=read: read_all(read(folder)))
    (folder / "i.json").unlink()
    (folder / "i.csv").write_bytes(damaged(VIA_CSV.encode(), changes, cut))
    survives(lambda: read_all(via(folder, "i.csv")))
    (folder / "i.xml").write_bytes(damaged(CVAT.encode(), changes, cut))
    survives(lambda: read_all(cvat(folder)))


DEEP = '{"shapes": ' + "[" * 10**5


@pytest.mark.parametrize("read", [labelme, via, createml])
@pytest.mark.parametrize("text", [DEEP, '{"shapes"', "", "[]", "{}", "null", "\ufeff{}", "\0"])
def test_other_json_is_refused(folder, read, text):
    written(folder, text)
    with pytest.raises(DataError, match=r"i\.json"):
        read(folder)


ENTITIES = '<!DOCTYPE a [<!ENTITY x "&y;&y;"><!ENTITY y "&z;&z;"><!ENTITY z "ha">]>'
FILE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("head", [ENTITIES, FILE])
def test_entities_are_refused(folder, head):
    written(folder, head + CVAT.replace('label="cat"', 'label="&x;"'), "i.xml")
    with pytest.raises(DataError, match=r"i\.xml defines XML entities"):
        cvat(folder)


def test_deep_elements_are_refused(folder):
    written(folder, CVAT.replace("<box", "<g>" * 10**5 + "</g>" * 10**5 + "<box", 1), "i.xml")
    with pytest.raises(DataError, match=r"image 'a\.png' g \(element 0\) is not read"):
        cvat(folder)


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/hostname", "C:\\a.png", "link/a.png", "a.png/../../b.png", "\0", "\n"]
)
def test_images_outside_of_the_root_are_not_read(folder, name):
    """`a.png` beside the root is not found; the same name inside is, which the paths of other machines need."""
    inside = folder / "root"
    inside.mkdir()
    (inside / "link").symlink_to(folder)
    contents = {key: copy.deepcopy(content) for key, (_, content) in JSON.items()}
    contents["labelme"]["imagePath"] = name
    contents["via"]["_via_img_metadata"]["a.png9"]["filename"] = name
    contents["via 1"]["a.png9"]["filename"] = name
    contents["createml"][0]["image"] = name
    for key, (read, _) in JSON.items():
        written(inside, contents[key])
        with pytest.raises(DataError) as caught:
            read(inside)
        assert len(str(caught.value).splitlines()) <= 5
    if name.isprintable():
        written(inside, CVAT.replace("a.png", name), "i.xml")
        with pytest.raises(DataError, match=r"outside|missing"):
            cvat(inside)


LINES = "a\n" * 9 + "b" * 10**4


def test_names_of_many_lines_stay_short_in_messages(folder):
    shape = {**LABELME["shapes"][0], "label": LINES}
    found = {**CREATEML[0]["annotations"][0], "label": LINES}
    hostile = [
        (labelme, {**LABELME, "imagePath": LINES}),
        (labelme, {**LABELME, "imagePath": LINES, "imageData": "a"}),
        (labelme, {**LABELME, "shapes": [{**shape, "shape_type": LINES}]}),
        (labelme, {**LABELME, "shapes": [shape]}),
        (via, {"a": {"filename": LINES, "regions": REGIONS}}),
        (via, {"a": {"filename": LINES, "regions": [{"shape_attributes": {"name": LINES}}, *REGIONS]}}),
        (via, {"a": {"filename": "a.png", "regions": [{**REGIONS[0], "region_attributes": {LINES: "a", "b": "a"}}]}}),
        (via, {"a": {"filename": "a.png", "regions": [{**REGIONS[0], "region_attributes": {LINES: 3}}]}}),
        (createml, [{"image": LINES, "annotations": []}]),
        (createml, [{"image": "a.png", "annotations": [found]}]),
        (createml, [{"image": LINES, "annotations": [3]}]),
    ]
    for number, (read, content) in enumerate(hostile):
        written(folder, content)
        with pytest.raises(DataError) as caught:
            read(folder)
        assert len(str(caught.value).splitlines()) <= 5, number
        assert len(str(caught.value)) < 2000, number


def test_labels_of_many_lines_stay_short_in_messages(folder):
    lines = LINES.replace("\n", "&#10;")
    for text in (CVAT.replace(">cat<", f">{lines}<"), CVAT.replace("a.png", lines), CVAT.replace("30", lines)):
        written(folder, text, "i.xml")
        with pytest.raises(DataError) as caught:
            cvat(folder)
        assert len(str(caught.value).splitlines()) <= 5
        assert len(str(caught.value)) < 2000


MILLION = 10**6


def _million():
    """Return x, y, width and height of distinct boxes."""
    return [(i % 600, i // 600 % 400, 2 + i % 7, 3 + i // 240_000) for i in range(MILLION)]


def _many_labelme(folder):
    shapes = [
        {"label": "cat", "shape_type": "rectangle", "points": [[x, y], [x + w, y + h]]} for x, y, w, h in _million()
    ]
    written(folder, {"imagePath": "a.png", "shapes": shapes})
    return Labelme


def _many_cvat(folder):
    boxes = [f'<box label="cat" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/>' for x, y, w, h in _million()]
    written(folder, f'<annotations><image name="a.png">{"".join(boxes)}</image></annotations>', "annotations.xml")
    return lambda root: Cvat(root, images="")


def _many_via(folder):
    keys = ("x", "y", "width", "height")
    shapes = [{"name": "rect", **dict(zip(keys, box, strict=True))} for box in _million()]
    regions = [{"shape_attributes": shape, "region_attributes": {"kind": "cat"}} for shape in shapes]
    written(folder, {"a": {"filename": "a.png", "regions": regions}})
    return lambda root: Via(root, "i.json")


def _many_via_csv(folder):
    shape = '"{{""name"":""rect"",""x"":{},""y"":{},""width"":{},""height"":{}}}"'
    rows = [f'a.png,{shape.format(*box)},"{{""kind"":""cat""}}"\n' for box in _million()]
    written(folder, "filename,region_shape_attributes,region_attributes\n" + "".join(rows), "i.csv")
    return lambda root: Via(root, "i.csv")


def _many_createml(folder):
    boxes = [{"x": x + 9, "y": y + 9, "width": w, "height": h} for x, y, w, h in _million()]
    written(folder, [{"image": "a.png", "annotations": [{"label": "cat", "coordinates": box} for box in boxes]}])
    return createml


@pytest.mark.slow
@pytest.mark.parametrize("write", [_many_labelme, _many_cvat, _many_via, _many_via_csv, _many_createml])
def test_a_million_boxes_in_one_image_take_seconds(tmp_path, write):
    Image.new("RGB", (640, 480)).save(tmp_path / "a.png")
    read = write(tmp_path)
    start = time.process_time()
    assert len(read(tmp_path).objects) == MILLION
    assert time.process_time() - start < 10
