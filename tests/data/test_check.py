from PIL import Image

from tests.data.formats.test_voc import CAT, xml
from visionkit.data.check import check
from visionkit.data.formats.shapes import Shapes
from visionkit.data.formats.voc import Voc


def test_figures_of_shapes():
    shapes = Shapes(count=40, size=64)
    report = check(shapes)
    assert report.pictures == 40
    assert sum(report.objects.values()) == sum(len(shapes.annotation(index)) for index in range(40))
    assert report.sides == sorted(report.sides)
    assert not report.problems


def test_broken_and_wrongly_sized_pictures_are_listed(tmp_path):
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("good", "cut", "turned"):
        Image.new("RGB", (60, 40)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        (tmp_path / "Annotations" / f"{name}.xml").write_text(xml(CAT))
    cut = tmp_path / "JPEGImages" / "cut.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    Image.new("RGB", (40, 60)).save(tmp_path / "JPEGImages" / "turned.jpg")
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("good\ncut\nturned\n")
    report = check(Voc(tmp_path, "train"))
    assert len(report.problems) == 2
    assert any("cut.jpg cannot be read" in line for line in report.lines())
    assert any("60 x 40" in line for line in report.lines())
