"""Share of planted faults that `visionkit data audit` finds: source of the table in docs/audit-your-data.md.

    python -m tests.benchmarks.audit_table DATA WEIGHTS [SEED ...]

DATA holds the folders of the real datasets, WEIGHTS are ImageNet's for timm/tf_efficientnet_lite0; "none" leaves out
the checks that need them. Forty faults of eight kinds, and with the first seed ten of two harder ones, are planted in
copies of coco-mini, bccd and voc2007-mini. Prints markdown tables.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import visionkit as vk
from tests.helpers.planted_faults import HARDER, KINDS, Record, plant, read_records, write_coco, write_voc
from visionkit.engine.audit.run import AuditReport, run_audit
from visionkit.engine.audit.subject import QuickModelOptions, read_subject

VOC_CLASSES = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
EACH = 5
SEEDS = (0, 1, 2)


def open_sets(folder: Path) -> dict[str, vk.VisionData]:
    """Return the three datasets."""
    cards = {
        "coco-mini": (
            "coco",
            None,
            {
                split: {
                    "annotations": f"annotations/instances_{split}2017.json",
                    "images": f"{split}2017",
                    "masks": True,
                }
                for split in ("train", "val")
            },
        ),
        "bccd": (
            "voc",
            ["RBC", "WBC", "Platelets"],
            {split: {"image_set": split} for split in ("train", "val", "test")},
        ),
        "voc2007-mini": ("voc", VOC_CLASSES, {split: {"image_set": split} for split in ("train", "val")}),
    }
    return {
        name: vk.VisionData(format, root=str(folder / name), classes=classes, splits=splits, num_workers=0)
        for name, (format, classes, splits) in cards.items()
    }


def audit(records: list[Record], names: list[str], quick: QuickModelOptions) -> tuple[AuditReport, float]:
    """Write the images, and return their audit and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        has_difficult = any(record.difficult.any() for record in records)
        values = (write_voc if has_difficult else write_coco)(records, names, Path(folder) / "set")
        start = time.monotonic()
        if records[0].masks is not None:
            for options in values["data"]["splits"].values():
                options["masks"] = True
        subject = read_subject(vk.VisionData(**values["data"], num_workers=0))
        subject.quick = quick
        return run_audit(subject), time.monotonic() - start


def score(report: AuditReport, records: list[Record]) -> tuple[Counter, Counter, float]:
    """Return the found and planted faults by kind, and the share of the other images that are flagged."""
    name_of = {(image.split, image.index): Path(image.name).name for image in report.subject.images}
    flagged, named = {}, {}
    for finding in report.findings:
        if finding.severity != "note":
            for ref in finding.images:
                flagged.setdefault(name_of[ref.split, ref.index], []).append((finding, ref))
            for ref in (*finding.images, *finding.related):
                named.setdefault(name_of[ref.split, ref.index], []).append((finding, ref))
    found, planted = Counter(), Counter()
    for record in records:
        if record.fault:
            planted[record.fault] += 1
            found[record.fault] += any(_fits(record, *item) for item in named.get(record.name, []))
    wrong = Counter(
        finding.kind
        for record in records
        if not record.fault and not record.original
        for finding, _ in flagged.get(record.name, [])
    )
    print("  clean images:", dict(wrong), file=sys.stderr)
    clean = [record.name for record in records if not record.fault and not record.original]
    return found, planted, sum(name in flagged for name in clean) / len(clean)


def _fits(record: Record, finding: object, ref: object) -> bool:
    """Return whether a finding is about the planted fault: its objects, or the image for faults of images."""
    if record.fault.startswith("truncated"):
        return finding.kind == "unreadable images"
    if "splits" in record.fault:
        return finding.kind == "duplicate images across splits"
    if finding.kind == "boxes repaired by the reader":
        return True
    return bool(set(record.objects) & set(ref.objects)) if record.objects else "missing" in finding.kind


def table(data: Path, weights: str, seeds: tuple[int, ...]) -> Iterator[str]:
    """Yield the lines of the tables as they are measured."""
    quick = QuickModelOptions()
    if weights != "none":
        backbone = vk.create_backbone("timm/tf_efficientnet_lite0", weights=weights)
        quick = QuickModelOptions(backbone, Path("runs/features"))
    total_found, total_planted = Counter(), Counter()
    for name, original in open_sets(data).items():
        names = original.class_names
        report, seconds = audit(read_records(original), names, quick)
        flagged, images = len(report.flagged_images()), len(report.subject.images)
        kinds = {kind: len(found) for kind, found in report.by_kind.items() if found[0].severity != "note"}
        share = 100 * flagged / images
        yield f"\n{name} as it is: {flagged} of {images} images ({share:.1f} %) in {seconds:.0f} s: {kinds}"
        for kinds_of_run in (KINDS, HARDER):
            shares, found, planted = [], Counter(), Counter()
            for seed in seeds if kinds_of_run == KINDS else seeds[:1]:
                records = plant(read_records(original), kinds_of_run, EACH, len(names), seed)
                report, seconds = audit(records, names, quick)
                own_found, own_planted, share = score(report, records)
                found, planted = found + own_found, planted + own_planted
                shares.append(share)
            for kind in kinds_of_run:
                yield f"| {name} | {kind} | {found[kind]} of {planted[kind]} |"
            measured = [made.result.measured for made in report.made if made.name == "object_suspects"]
            yield from measured
            whole, of = sum(found.values()), sum(planted.values())
            clean = f"clean images flagged {100 * sum(shares) / len(shares):.1f} %"
            yield f"| {name} | all | {whole} of {of} ({100 * whole / of:.0f} %), {clean}, {seconds:.0f} s |"
            total_found, total_planted = total_found + found, total_planted + planted
    for kinds_of_run in (KINDS, HARDER):
        part = [sum(counts[kind] for kind in kinds_of_run) for counts in (total_found, total_planted)]
        yield f"\n{part[0]} of {part[1]} found ({100 * part[0] / part[1]:.1f} %)"
        for kind in kinds_of_run:
            yield f"| {kind} | {total_found[kind]} of {total_planted[kind]} |"


if __name__ == "__main__":
    folder, file, *rest = sys.argv[1:]
    for line in table(Path(folder), file, tuple(map(int, rest)) or SEEDS):
        print(line, flush=True)
