"""The trainings of docs/results.md that say where things are, masks and boxes; their section."""

import statistics
from typing import Any

from origin import in_words
from trainings import Training

from torchfolio.evaluation.names import SHARES, title

MASKS = ("picture_dice", "object_recall", "false_alarms", "mean_iou")
CLASSES = ("mean_iou", "mean_dice", "pixel_accuracy")
BOXES = ("ap", "ap50", "ap75", "ar100")
# A U-Net that a core trains in minutes.
SMALL = "--set depth=3 --set width=24 --recipe modern --lr 0.001"
FEW = "--val-split 0.15 --test-split 0.3"  # of a few pictures, so that some are tested
INTRODUCTION = """\
## Where things are

Masks and boxes: small networks at reduced sizes, as one core trains them in minutes. Figures are
those of one seed, with 95 % intervals over test pictures (over patients, where names tell them);
*baseline* is the answer that looks at nothing: the commonest class everywhere, or the median
training box of each class in the middle; of two classes *threshold* is the best cut of training
pictures at one grey value. Small sets have wide intervals; where the test pictures are of one
patient there is none. Of `tumours/lgg_tif` no pair opens: `folio check` names each of its files.
"""


def tumours(
    folder: str, what: str, passes: int = 60, split: str = f" {FEW}"
) -> dict[str, Training]:
    """Return the trainings of one layout: by a small U-Net, and by one on VGG16."""
    shared = f"{{data}}/tumours/{folder}{split} --image-size 128 --batch-size 4 --threads 1"
    plain = f"unet_bn {shared} {SMALL} --epochs {passes}"
    large = f"unet_vgg16_bn {shared} --recipe modern --lr 0.001 --epochs {passes // 3}"
    return {
        f"tumours_{folder}": Training(what, "U-Net, batch norm", plain, figures=MASKS),
        f"tumours_{folder}_vgg16": Training(
            what, "U-Net on VGG16, batch norm", large, figures=MASKS
        ),
    }


def tiny_coco(network: str, what: str, settings: str, note: str = "") -> dict[str, Training]:
    """Return the trainings of a network on the part of COCO, by each of its two forms.

    Nothing is set aside to choose weights by: the last ones are those that know it best.
    """
    shared = f"{network} {{data}}/tiny_coco --recipe modern --augment none --val-split 0"
    shared += f" {settings} --threads 1"
    return {
        f"tiny_coco_{network}_{form}": Training(
            "A tiny part of COCO", f"{what}, {shown}", f"{shared} --reader {form}-boxes",
            figures=BOXES, by_heart=True, note=note if form == "coco" else "",
        )
        for form, shown in (("coco", "COCO's JSON"), ("yolo", "YOLO's text files"))
    }  # fmt: skip


WHERE = {
    **tumours("liver_ct_jpg", "Livers in CT, JPEG", 15, ""),
    **tumours("kidney_ct_jpg", "Kidney tumours in CT, JPEG"),
    **tumours("brain_mri_png", "Brain tumours in MRI, PNG"),
    **tumours("brats21_jpg", "Brain tumours in MRI (BraTS), JPEG"),
    **tumours("busi", "Breast tumours in ultrasound"),
    **tumours("lgg_jpg", "Gliomas in MRI, JPEG"),
    "isbi": Training(
        "ISBI 2012, membranes", "U-Net, batch norm",
        f"unet_bn {{data}}/isbi2012_membrane {SMALL} --image-size 256 --epochs 40 --batch-size 4 "
        "--threads 1",
        figures=("mean_iou", "mean_dice", "pixel_accuracy", "rand_error"),
    ),
    "drive": Training(
        "DRIVE, vessels", "U-Net, batch norm",
        f"unet_bn {{data}}/drive_vessels {SMALL} --val-split 0.125 --test-split 0.375 --epochs 200 "
        "--batch-size 4 --crop 192 --threads 1",
        figures=("dice", "iou", "pixel_accuracy", "mean_recall"),
    ),
    "camvid": Training(
        "CamVid, roads", "U-Net, batch norm",
        f"unet_bn {{data}}/camvid {SMALL} --image-size 120 --crop 112 --augment scale --epochs 20 "
        "--batch-size 8 --threads 1",
        figures=CLASSES,
    ),
    "facades": Training(
        "Facades", "U-Net, batch norm",
        f"unet_bn {{data}}/facades/pairs {SMALL} --image-size 128 --augment flip --epochs 60 "
        "--batch-size 4 --threads 1",
        figures=CLASSES,
    ),
    "volumes": Training(
        "Sarcomas in CT, MRI and PET, volumes", "U-Net, batch norm",
        f"unet_bn {{data}}/volumes/sts_nifti {SMALL} --image-size 96 --epochs 15 --batch-size 4 "
        "--threads 1",
        note="Four volumes are too few for a figure; the test one is of another patient or kind of "
        "picture than those of training. `folio predict RUN VOLUME --pictures OUT` writes masks "
        "with the geometry of the volume; `folio check DATA/volumes/pydicom_files` names each "
        "faulty file. The series of DICOM files is the PET of these: the tests train on it.",
        figures=MASKS,
    ),
    "bccd_yolo": Training(
        "Blood cells", "YOLOv3, small form",
        "yolov3_tiny {data}/bccd_voc --recipe modern --image-size 256 --epochs 20 --batch-size 8 "
        "--anchors data --threads 1",
        figures=BOXES,
    ),
    "bccd_rcnn": Training(
        "Blood cells", "Faster R-CNN",
        "fasterrcnn_resnet50_fpn {data}/bccd_voc --recipe modern --set proposals=64 "
        "--image-size 128 --epochs 6 --batch-size 4 --threads 1",
        figures=BOXES,
    ),
    **tiny_coco(
        "yolov3_tiny", "YOLOv3, small form", "--image-size 160 --epochs 150 --batch-size 8",
        "50 pictures of 80 classes are too few for a test. Figures of the training pictures show "
        "how far these are learnt by heart: by YOLOv3 mostly, by Faster R-CNN in so few passes a "
        "little.",
    ),
    **tiny_coco(
        "fasterrcnn_resnet50_fpn", "Faster R-CNN",
        "--set proposals=64 --image-size 128 --epochs 20 --batch-size 4",
    ),
}  # fmt: skip


def where_lines(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the section: of each data set a table, and the commands."""
    if not results:
        return []
    lines = [INTRODUCTION]
    for section in dict.fromkeys(WHERE[name].section for name in results):
        own = {name: each for name, each in results.items() if WHERE[name].section == section}
        figures = WHERE[next(iter(own))].figures
        lines += [f"### {section}", ""]
        lines += ["| network | " + " | ".join(map(title, figures)) + " | time |"]
        lines += ["|---" * (len(figures) + 2) + "|"]
        for name, entries in own.items():
            cells = [figure(entries[0], each) for each in figures]
            minutes = statistics.mean(entry["seconds"] for entry in entries) / 60
            lines.append(f"| {WHERE[name].what} | {' | '.join(cells)} | {minutes:.0f} min |")
        lines.append("")
        for name, entries in own.items():
            lines += class_lines(WHERE[name].what, entries[0].get("iou_by_class", {}))
            if learned := entries[0].get("training_pictures"):
                found = figure({"metrics": learned, "baseline": {}}, figures[1])
                lines += [
                    f"Of its training pictures ({WHERE[name].what}): {title(figures[1])} {found}.",
                    "",
                ]
        lines += [f"{WHERE[name].note}\n" for name in own if WHERE[name].note]
        lines += ["```text", *(entries[0]["command"] for entries in own.values()), "```", ""]
        for words in dict.fromkeys(in_words(each[0]) for each in own.values()):
            lines += [f"On: {words}", ""]
    return lines


def class_lines(what: str, found: dict[str, dict[str, Any]]) -> list[str]:
    """Return the IoU of each class in a sentence; nothing where there is none."""
    if not found:
        return []
    told = ", ".join(f"{name} {measured(value, 100, 1)}" for name, value in found.items())
    return [f"IoU by class ({what}): {told}.", ""]


def measured(value: dict[str, Any], scale: float, digits: int) -> str:
    """Return a figure with its interval; a dash where there is none."""
    if value["value"] is None:
        return "–"
    shown = f"{scale * value['value']:.{digits}f}"
    if value.get("low") is not None:
        shown += f" ({scale * value['low']:.{digits}f} to {scale * value['high']:.{digits}f})"
    return shown


def figure(entry: dict[str, Any], name: str) -> str:
    """Return a figure with its interval and its baseline; a dash where there is none."""
    value = entry["metrics"].get(name)
    if value is None or value["value"] is None:
        return "–"
    scale, digits = (100, 1) if name in SHARES else (1, 2)
    shown = measured(value, scale, digits)
    trivial = entry["baseline"].get(name)
    if trivial is not None and trivial["value"] is not None:
        shown += f"; baseline {scale * trivial['value']:.{digits}f}"
    plain = entry.get("plain_threshold", {}).get("metrics", {})
    if name in plain:
        shown += f"; threshold {scale * plain[name]:.{digits}f}"
    return shown
