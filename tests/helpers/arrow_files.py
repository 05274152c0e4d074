"""Small tables of images as the library `datasets` writes them."""

import io
import json

from PIL import Image

SIZE = (64, 48)
"""Width and height of the images."""

LABEL = {"names": ["cat", "dog"], "_type": "ClassLabel"}
FEATURES = {
    "image": {"_type": "Image"},
    "objects": {
        "bbox": {"feature": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}, "_type": "List"},
        "category": {"feature": LABEL, "_type": "List"},
    },
}
OBJECTS = [{"bbox": [[8.0, 4.0, 20.0, 10.0]], "category": [1]}, {"bbox": [], "category": []}]


def encoded(color=0, suffix="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", SIZE, (color, 0, 0)).save(buffer, suffix)
    return buffer.getvalue()


def images(count=2):
    return [{"bytes": encoded(10 * index), "path": None} for index in range(count)]


def table(columns, features=None):
    """Return a table with the metadata of `datasets`."""
    import pyarrow

    metadata = None if features is None else {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.table(columns).replace_schema_metadata(metadata)


def write_parquet(path, columns, features=None):
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table(columns, features), path)


def write_saved(folder, *tables):
    """Write what `save_to_disk` writes: a stream per shard, and `state.json`."""
    import pyarrow

    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{index:05}-of-{len(tables):05}.arrow" for index in range(len(tables))]
    for name, shard in zip(names, tables, strict=True):
        with pyarrow.OSFile(str(folder / name), "wb") as file, pyarrow.ipc.new_stream(file, shard.schema) as writer:
            writer.write_table(shard)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
