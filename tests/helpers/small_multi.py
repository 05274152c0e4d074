"""Small models of several heads on the shapes data, and the same models alone."""

import torch

import visionkit as vk

SPLITS = {"train": {"count": 24, "size": 64}, "val": {"count": 6, "size": 64, "split": "val"}}
BOXES = vk.DetectionPreprocessOptions(size=[64, 64])
HEADS = {
    "objects": {"name": "retinanet", "fpn_channels": 16, "out_stages": ["s8", "s16", "s32"]},
    "proposed": {"name": "faster_rcnn", "fpn_channels": 16, "head_channels": 16, "out_stages": ["s8", "s16", "s32"]},
    "regions": {"name": "unet", "decoder_channels": [32, 16, 16, 8, 8]},
    "tags": {"name": "classifier", "multi_label": True},
}
KINDS = {"objects": "boxes", "proposed": "boxes", "regions": "semantic", "tags": "tags"}
REQUIRED = {"boxes": None, "semantic": "semantic", "tags": "tags"}
TASKS = {
    "objects": (vk.Detection, BOXES),
    "proposed": (vk.Detection, BOXES),
    "regions": (vk.Segmentation, vk.SegmentationPreprocessOptions(size=[64, 64])),
    "tags": (vk.Classification, vk.ClassificationPreprocessOptions(size=[64, 64])),
}
OPTIMIZER = {"name": "adamw", "lr": 1e-3, "base_batch_size": 4}
FLIP = [{"name": "HorizontalFlip", "p": 0.5}]


def card(head, splits=None, **options):
    """Return the shapes for a head."""
    required, splits = REQUIRED[KINDS[head]], splits or SPLITS
    return vk.VisionData(
        "shapes", None, splits, required=required, augment=FLIP, batch_size=4, num_workers=0, **options
    )


def multi_data(*heads, splits=None, batch_size=4, **options):
    """Return the shapes, labeled for all heads; `splits` of a head with images of its own by its name."""
    sources = {
        head: {f"own_{head}" if head in (splits or {}) else "shapes": card(head, (splits or {}).get(head))}
        for head in heads
    }
    kinds = {head: KINDS[head] for head in heads}
    return vk.MultiData(sources, kinds, batch_size=batch_size, num_workers=0, **options)


def multi_task(data, seed=0, evaluation=None, share_pyramid=False, **balancing):
    """Return a new task for the heads of the data."""
    torch.manual_seed(seed)
    backbone = vk.create_backbone("resnet18", weights="none")
    classes = {head: data.of_head(head).class_names for head in data.heads}
    options = {head: {**HEADS[head], "num_classes": len(classes[head])} for head in data.heads}
    model = vk.MultiHead(backbone, sum(map(len, classes.values())), heads=options, share_pyramid=share_pyramid)
    heads = {}
    for head in data.heads:
        task, preprocess = TASKS[head]
        heads[head] = task(model.head(head), classes[head], preprocess=preprocess)
    balance = vk.BalancingOptions(**balancing)
    return vk.MultiTask(model, heads, vk.OptimizerOptions(**OPTIMIZER), balancing=balance, evaluation=evaluation)


def single_task(head, seed=0):
    """Return the task of a head alone, with its data."""
    torch.manual_seed(seed)
    data, options = card(head), {**HEADS[head]}
    backbone = vk.create_backbone("resnet18", weights="none", out_stages=options.pop("out_stages", None))
    model = vk.create_model(options.pop("name"), backbone, len(data.class_names), **options)
    task, preprocess = TASKS[head]
    return task(model, data.class_names, preprocess=preprocess, optimizer=vk.OptimizerOptions(**OPTIMIZER)), data
