"""Damaged VOC files: XML annotations, lists of images, and palette masks."""

import re

from PIL import Image

from tests.helpers.voc_files import xml
from tests.robustness.cases import Kind
from tests.robustness.cases.reading import run_card, write_card
from tests.robustness.mutations import HOSTILE, SECRET, TEXTS, encoded_text, mutated_bytes, mutated_text

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa">' + "".join(f'<!ENTITY a{i} "{"&a" + str(i - 1) + ";"}">' for i in range(1, 9))
HEADS = [
    *([""] * 20),
    *('<?xml version="1.0" encoding="utf-8"?>', '<?xml version="1.0" encoding="rot13"?>', "\ufeff", "<!-- -->"),
    *(
        '<?xml version="1.0" encoding="utf-16"?>',
        '<?xml version="1.1"?>',
        '<?xml version="1.0" encoding="x"?>',
        BOMB + "]>",
    ),
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
]


def prepare(rng, folder):
    for name in ("Annotations", "JPEGImages", "ImageSets/Main", "ImageSets/Segmentation", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    for image in ("a", "b"):
        Image.new("RGB", (60, 40), 90).save(folder / "JPEGImages" / f"{image}.jpg")
        Image.new("P", (60, 40), 3).save(folder / "SegmentationClass" / f"{image}.png")
        (folder / "Annotations" / f"{image}.xml").write_text(xml())
    kind = rng.choice(["voc"] * 5 + ["voc_segmentation"])
    sets = folder / "ImageSets" / ("Main" if kind == "voc" else "Segmentation")
    listed = "a\nb\n"
    if kind == "voc_segmentation" or rng.random() < 0.2:
        listed = rng.choice([mutated_text(rng, listed), f"a\n{rng.choice(TEXTS)}\n", f"a\n{SECRET[:-4]}\n"])
    else:
        (folder / "Annotations" / "a.xml").write_bytes(damaged(rng, xml()))
    (sets / "train.txt").write_bytes(encoded_text(rng, listed))
    split = {"image_set": rng.choice(["train"] * 600 + TEXTS).encode(errors="ignore").decode()}
    options = {"classes": ["cat", "dog"]} if kind == "voc" and rng.random() < 0.3 else {}
    write_card(folder, format=kind, splits={"train": split, "val": split}, **options)
    return [rng.choice(["check", "read", "read"])]


def damaged(rng, text):
    """Return the bytes of an XML file with changed elements, characters or bytes."""
    for _ in range(rng.randint(1, 2)):
        elements = [found.span() for found in re.finditer(r"<(\w+)>[^<>]*</\1>|<object>.*?</object>", text)]
        values = [found.span() for found in re.finditer(r"(?<=>)[^<>]+(?=<)", text)]
        if not elements or not values:
            break
        (start, end), (first, last) = rng.choice(elements), rng.choice(values)
        value = str(rng.choice([*HOSTILE, *TEXTS]))
        escaped = value.replace("&", "&amp;").replace("<", "&lt;")
        depth = rng.choice([10, 1000, 200_000])
        text = rng.choice(
            [
                text[:first] + escaped + text[last:],
                text[:first] + escaped + text[last:],
                text[:first] + value + text[last:],
                text[:first] + f"<![CDATA[{value}]]>" + text[last:],
                text[:start] + text[end:],
                text[:end] + text[start:end] * rng.choice([1, 300]) + text[end:],
                text[:start] + f"<a x='{escaped}'>" * rng.choice([1, 2]) + text[start:],
                text[:start] + "<a>" * depth + "</a>" * depth + text[end:],
                text[:first] + "&a;" + text[last:],
                mutated_text(rng, text),
            ]
        )
    data = encoded_text(rng, rng.choice(HEADS) + text)
    return mutated_bytes(rng, data) if rng.random() < 0.1 else data


KIND = Kind(prepare, run_card, confined=True)
