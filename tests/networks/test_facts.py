"""The cards against the table of facts, which lies beside the public data.

What it says is in ``test_forms.py`` as well, which needs no table and counts every network at the
size of its card; this reads every row, and counts those of other sizes. Its rows have names of
their own.
"""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from torchfolio.networks.build import build
from torchfolio.networks.catalogue import Card, cards, find_card
from torchfolio.networks.summary import Summary, summarise

Row = dict[str, str]
TASKS = ("image classification", "object detection", "semantic segmentation")
NOT_OURS = re.compile(r"fasterrcnn_resnet50_fpn_v2|yolov1_.*darknet|yolov2_tiny")  # yet
# Names that no rule gives, with the arguments that the row is for.
NAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax_regression_784": ("softmax_regression", {}),
    "mlp_784_256_10": ("mlp", {}),
    "mlp_784_800_10": ("mlp", {"widths": [800]}),
    "mlp_784_512_512_10": ("mlp", {"widths": [512, 512]}),
    "mlp_bn_100x3": ("mlp_bn", {}),
    "maxout_mlp_240x5": ("maxout_mlp", {}),
    "maxout_conv_mnist_tied_bias": ("maxout_conv_mnist", {}),
    "resnet34_v1": ("resnet34", {}),
    "densenet_cifar_l40_k12": ("densenet40_k12", {}),
    "densenet_bc_cifar_l100_k12": ("densenet100_k12_bc", {}),
    "mobilenetv1_100_timm": ("mobilenet_v1_relu6", {}),
    "unet_2015_cell_tracking": ("unet_2015", {}),
    "unet_padded_1_2": ("unet", {}),
    "unet_padded_bn_3_2": ("unet_bn", {}),
    "unet_padded_bn_bilinear_3_2": ("unet_bn_bilinear", {}),
    "unet_vgg16_smp_1": ("unet_vgg16", {}),
    "unet_vgg16_smp_21": ("unet_vgg16", {"num_classes": 21}),
    "unet_vgg16_bn_smp_1": ("unet_vgg16_bn", {}),
    "unet_vgg16_plain_21": ("unet_vgg16_plain", {}),
    "fcn32s_reference_model": ("fcn32s", {}),
    "fcn16s_reference_model": ("fcn16s", {}),
    "fcn8s_reference_model": ("fcn8s", {}),
    "fcn_resnet50_noaux": ("fcn_resnet50", {"aux_loss": False}),
    "fcn_resnet101_noaux": ("fcn_resnet101", {"aux_loss": False}),
    "fasterrcnn_resnet50_fpn": ("fasterrcnn_resnet50_fpn", {"frozen_norm": True}),
    "fasterrcnn_resnet50_fpn_800x1333": ("fasterrcnn_resnet50_fpn", {"frozen_norm": True}),
    **dict.fromkeys(
        ("fasterrcnn_vgg16_07", "fasterrcnn_vgg16_07_12", "fasterrcnn_vgg16_coco_07_12"),
        ("fasterrcnn_vgg16", {}),
    ),
    "fasterrcnn_vgg16_coco": (
        "fasterrcnn_vgg16",
        {"num_classes": 80, "scales": (4, 8, 16, 32)},
    ),
    "yolov1_paper": ("yolov1", {}),
    "yolov2_voc": ("yolov2", {"num_classes": 20, "voc": True}),
    "yolov2_coco": ("yolov2", {}),
    "yolov2_coco_416": ("yolov2", {}),
    "yolov3_voc": ("yolov3", {"num_classes": 20}),
}
# What comes after a name: whose weights or figures, and of which size of images.
ENDINGS = r"(_1\.0)?(_(v2_weights|augreg|authors|caffe|paper|608|384|320|224|192|160|128|96))*$"
STEP = 32  # pixels, to multiples of which torchvision fills pictures up for its detectors
# Multiply-adds of what runs in training alone, which the table counts and a card does not.
IN_TRAINING = {
    # 512 (528) maps of 4x4 to 128, then 2048 to 1024 to 1000
    "googlenet_original_aux": (512 + 528) * 128 * 16 + 2 * (2048 * 1024 + 1024 * 1000),
    "capsnet": 160 * 512 + 512 * 1024 + 1024 * 784,
    # 1024 maps of 65x65 to 256 by 3x3, then scores of 21 classes
    "fcn_resnet50": 65**2 * (9 * 1024 * 256 + 256 * 21),
    "fcn_resnet101": 65**2 * (9 * 1024 * 256 + 256 * 21),
}


def of_row(name: str) -> tuple[str, dict[str, Any]]:
    """Return our name of a row, and what the row says of the network besides."""
    if name in NAMES:
        return NAMES[name]
    if name in cards():
        return name, {}
    ours = re.sub(r"^cifar_(resnet\d+)_option_b$", r"\1_b", name).removeprefix("cifar_")
    return re.sub(ENDINGS, "", ours), {}


def rows(public_data: Path) -> list[Row]:
    file = public_data.parent / "facts" / "networks.csv"
    if not file.is_file():
        pytest.skip("the table of facts does not lie beside the public data")
    with file.open(encoding="utf-8", newline="") as opened:
        return [row for row in csv.DictReader(opened) if row["task"] in TASKS]


@pytest.mark.slow
def test_parameters_and_multiply_adds_are_those_of_the_table(public_data: Path) -> None:
    compared = set()
    for row in rows(public_data):
        if NOT_OURS.match(row["name"]):
            continue
        name, arguments = of_row(row["name"])
        shape = [int(size) for size in row["input_shape"].split(" ")[0].split("x")][1:]
        channels, height, width = shape if len(shape) == 3 else (1, 28, 28)
        if row["name"].startswith("fasterrcnn_resnet"):
            height, width = (-(-side // STEP) * STEP for side in (height, width))
        found: Card | Summary = find_card(name)
        if arguments or (channels, height, width) != found.input:
            with torch.device("meta"):
                network = build(name, image_size=(height, width), **arguments)
            found = summarise(network, (channels, height, width))
        assert found.parameters == int(row["params"]), row["name"]
        if row["macs"]:
            macs = found.macs + IN_TRAINING.get(row["name"], 0)
            assert macs == int(row["macs"]), row["name"]
        compared.add(name)
    left_out = set(cards()) - compared
    # Forms whose counts follow from those of others, in ``test_forms.py``.
    endings = ("_plain", "_official", "_bn", "_b", "_relu6", "_ungrouped", "_c_paper")
    others = {name for name in left_out if not name.endswith(endings)}
    assert others == {"cifar_quick", "vit_ti_32", "unet_vgg16_ternaus"}
