"""Small valid datasets in the formats of annotation tools, and the kinds of cases made of them."""

from dataclasses import dataclass, field

from PIL import Image

from tests.helpers.label_studio_tasks import RESULTS, SIZE, TASKS
from tests.robustness.cases import Kind
from tests.robustness.cases.export_damage import as_bytes, damaged, damaged_folder
from tests.robustness.cases.masks import plain
from tests.robustness.cases.reading import run_card, write_card
from tests.robustness.mutations import mutated_tree


@dataclass(frozen=True)
class Export:
    """A dataset.

    Attributes:
        format: its data format.
        images: names of the image files.
        files: content of the annotation files by name: text, bytes, or a tree for JSON.
        options: options of a split.
    """

    format: str
    images: list[str]
    files: dict[str, object]
    options: dict[str, object] = field(default_factory=dict)


LINES = "0 0.5 0.5 0.4 0.6\n1 0.1 0.1 0.9 0.1 0.9 0.9\n"
SHAPES = [
    {"label": "cat", "shape_type": "rectangle", "points": [[4, 3], [1, 1]], "group_id": None, "flags": {}},
    {"label": "dog", "shape_type": "polygon", "points": [[0, 0], [4, 0], [4, 3]], "group_id": 1},
    {"label": "dog", "shape_type": "circle", "points": [[2, 2], [2, 1]], "group_id": 1},
    {"label": "dog", "shape_type": "point", "points": [[2, 2]]},
]
LABELME = {"version": "5", "imagePath": "a.png", "imageData": None, "imageHeight": 3, "imageWidth": 5, "shapes": SHAPES}
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><subset>Train</subset><labels>
<label><name>cat</name><type>any</type></label><label><name>dog</name></label></labels></task></meta>
<image id="0" name="a.png" subset="Train" width="5" height="3">
<box label="cat" xtl="1" ytl="1" xbr="4" ybr="3" rotation="10" z_order="0"><attribute name="a">b</attribute></box>
<polygon label="dog" points="0,0;4,0;4,3"></polygon>
<ellipse label="dog" cx="2" cy="2" rx="1" ry="1"></ellipse>
<mask label="cat" rle="1, 2, 1" left="1" top="1" width="2" height="2"></mask>
<points label="cat" points="1,1"></points><tag label="cat"></tag></image>
<image id="1" name="b.png" subset="Train" width="5" height="3"></image>
</annotations>"""
POINTS = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((0, 0), (4, 0), (4, 3)))
LABELME_XML = f"""<annotation><filename>a.png</filename><folder>x</folder>
<imagesize><nrows>3</nrows><ncols>5</ncols></imagesize>
<object><name>cat</name><deleted>0</deleted><polygon><username>me</username>{POINTS}</polygon></object>
<object><name>dog</name><deleted>0</deleted><type>bounding_box</type><polygon>{POINTS}</polygon>
<attributes>rotation=0.0</attributes></object>
<object><name>dog</name><deleted>0</deleted><segm><box><xmin>1</xmin></box><mask>mask.png</mask></segm></object>
</annotation>"""
REGIONS = [
    {"shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 1}, "region_attributes": {"k": "cat"}},
    {
        "shape_attributes": {"name": "polygon", "all_points_x": [0, 4, 4], "all_points_y": [0, 0, 3]},
        "region_attributes": {"k": "dog"},
    },
    {"shape_attributes": {"name": "circle", "cx": 2, "cy": 2, "r": 1}, "region_attributes": {"k": {"dog": True}}},
    {
        "shape_attributes": {"name": "ellipse", "cx": 2, "cy": 2, "rx": 1, "ry": 0.5, "theta": 1},
        "region_attributes": {"k": "dog"},
    },
    {"shape_attributes": {"name": "point", "cx": 2, "cy": 2}, "region_attributes": {"k": "cat"}},
]
VIA = {
    "a.png1": {"filename": "a.png", "size": 1, "regions": REGIONS, "file_attributes": {}},
    "b.png2": {"filename": "b.png", "size": 2, "regions": {"0": REGIONS[0]}},
}
VIA_CSV = """filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes
a.png,1,"{}",2,0,"{""name"":""rect"",""x"":1,""y"":1,""width"":3,""height"":1}","{""k"":""cat""}"
a.png,1,"{}",2,1,"{""name"":""polygon"",""all_points_x"":[0,4,4],""all_points_y"":[0,0,3]}","{""k"":""dog""}"
b.png,2,"{}",0,0,"{}","{}"
"""
CREATEML = [
    {
        "image": "a.png",
        "annotations": [
            {"label": "cat", "coordinates": {"x": 2, "y": 1.5, "width": 3, "height": 2}},
            {"label": "dog", "coordinates": {"x": 2, "y": 1, "width": 1, "height": 1}},
        ],
    },
    {"image": "b.png", "annotations": []},
]


OPEN_IMAGES = """ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf
a,xclick,/m/1,1,0,0.5,0,0.9,0
b,xclick,/m/2,1,0.1,0.5,0,1,1
"""
OPEN_MASKS = "MaskPath,ImageID,LabelName,BoxXMin,BoxXMax,BoxYMin,BoxYMax\nmask.png,a,/m/1,0,0.5,0,0.9\n"
IMAGE_LABELS = "ImageID,Source,LabelName,Confidence\na,verification,/m/1,1\na,machine,/m/2,0.5\nb,verification,/m/1,0\n"
TF_CSV = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,5,3,cat,0,0,2,2\nb.png,5,3,dog,1,1,4,2\n"
LABEL_MAP = "item {\n  id: 1\n  name: 'dog'\n}\nitem { id: 2 name: 'cat' }\n"

PAIR = ["a.png", "b.png"]
SKIP = {"other_shapes": "skip"}
HULL = {**SKIP, "rotated_boxes": "hull"}

EXPORTS = {
    "yolo": Export(
        "yolo",
        ["images/train/a.png", "images/train/b.png", "images/val/a.png"],
        {
            "data.yaml": "path: ../x\ntrain: images/train\nval: ../images/valid\nnc: 2\nnames: [cat, dog]\n",
            "labels/train/a.txt": LINES,
            "labels/val/a.txt": LINES,
        },
        {"split": "train"},
    ),
    "darknet": Export(
        "yolo",
        ["obj_train_data/a.png", "obj_train_data/b.png"],
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
            "obj.names": "cat\ndog\n",
            "train.txt": "data/obj_train_data/a.png\ndata/obj_train_data/b.png\n",
            "obj_train_data/a.txt": LINES,
        },
        {"dataset": "obj.data"},
    ),
    "labelme": Export(
        "labelme",
        PAIR,
        {
            "a.json": LABELME,
            "b.json": {**LABELME, "imagePath": "..\\b.png", "shapes": SHAPES[:1]},
            "labels.txt": "__ignore__\n_background_\ncat\ndog\n",
            "train.txt": "a.json\nb\n",
        },
        {"list_file": "train.txt", **SKIP},
    ),
    "cvat": Export(
        "cvat", ["images/a.png", "images/Train/b.png"], {"annotations.xml": CVAT}, {"subset": "Train", **HULL}
    ),
    "labelme_xml": Export(
        "labelme_xml",
        ["a.png", "Images/x/b.png", "Masks/mask.png"],
        {"a.xml": LABELME_XML, "Annotations/b.xml": LABELME_XML.replace("a.png", "b.png")},
    ),
    "via": Export("via", PAIR, {"via_region_data.json": VIA}, SKIP),
    "via_project": Export(
        "via",
        PAIR,
        {"p.json": {"_via_settings": {}, "_via_img_metadata": VIA}},
        {"annotations": "p.json", "class_attribute": "k", **SKIP},
    ),
    "via_csv": Export("via", PAIR, {"v.csv": VIA_CSV}, {"annotations": "v.csv"}),
    "createml": Export("createml", PAIR, {"_annotations.createml.json": CREATEML}),
    "label_studio": Export("label_studio", PAIR, {"e.json": TASKS}, {"annotations": "e.json", **HULL}),
    "label_studio_old": Export(
        "label_studio",
        PAIR,
        {
            "e.json": [
                {"id": 1, "data": {"image": "a.png"}, "completions": [{"created_at": 1600000000, "result": RESULTS}]}
            ]
        },
        {"annotations": "e.json", **HULL},
    ),
    "open_images": Export(
        "open_images",
        ["images/a.png", "images/b.png", "masks/mask.png"],
        {"boxes.csv": OPEN_IMAGES, "masks.csv": OPEN_MASKS, "class-descriptions.csv": "/m/1,Cat\n/m/2,Dog\n"},
        {
            "annotations": "boxes.csv",
            "images": "images",
            "class_descriptions": "class-descriptions.csv",
            "segmentations": "masks.csv",
        },
    ),
    "open_images_labels": Export(
        "open_images_labels",
        PAIR,
        {"l.csv": IMAGE_LABELS, "class-descriptions.csv": "/m/1,Cat\n/m/2,Dog\n"},
        {"annotations": "l.csv", "class_descriptions": "class-descriptions.csv"},
    ),
    "tf_csv": Export(
        "tf_csv", PAIR, {"t.csv": TF_CSV, "map.pbtxt": LABEL_MAP}, {"annotations": "t.csv", "label_map": "map.pbtxt"}
    ),
}
"""Valid datasets by name."""

MASKS = ("yolo", "labelme", "labelme_xml", "cvat", "via", "label_studio", "open_images")
"""Formats with the option `masks`."""


def write_export(name, folder):
    """Write the files of a dataset, and return it."""
    export = EXPORTS[name]
    for image in export.images:
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("1" if "mask" in image else "RGB", SIZE, 1).save(path)
    for file, content in export.files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_bytes(content))
    return export


def prepare_one_of(names):
    """Return the `prepare` of a kind: one of the datasets of `names` with damaged files, folders or options."""

    def prepare(rng, folder):
        name = rng.choice(names)
        export = write_export(name, folder)
        split = dict(export.options)
        if export.format in MASKS and rng.random() < 0.5:
            split["masks"] = True
        if rng.random() < 0.2:
            split["on_bad_file"] = "skip"
        choice = rng.random()
        if choice < 0.75:
            name = rng.choice([*export.files])
            (folder / name).write_bytes(damaged(rng, name, export.files[name]))
        elif choice < 0.9:
            damaged_folder(rng, folder)
        else:
            split = plain(mutated_tree(rng, split))
        classes = {"classes": ["dog", "cat"]} if rng.random() < 0.3 else {}
        write_card(folder, format=export.format, splits={"train": split, "val": split}, **classes)
        return [rng.choice(["check", "read", "read"])]

    return prepare


def kind_of_exports(*names):
    """Return the kind of cases of some datasets."""
    return Kind(prepare_one_of(names), run_card, confined=True)
