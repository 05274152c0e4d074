"""Annotation files of Pascal VOC."""

OBJECT = "<object><name>{name}</name>{more}<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"  # noqa: E501
CAT = OBJECT.format(11, 6, 20, 15, name="cat", more="<difficult>1</difficult>")
DOG = OBJECT.format(1, 1, 60, 40, name="dog", more="<truncated>1</truncated>")


def xml(objects=CAT + DOG, size="<size><width>60</width><height>40</height></size>", head=""):
    return f"{head}<annotation><filename>elsewhere.jpg</filename>{size}{objects}</annotation>"
