"""Vision Transformers against torchvision's, timm's and transformers'.

torchvision has the larger sizes; its class makes the smaller ones of their numbers.
"""

import importlib
import re
from functools import partial

from torchfolio.networks.catalogue import Card
from torchfolio.networks.vit import RENAMES
from torchfolio.verification.criteria import Criteria, Form, absent, installed
from torchfolio.verification.initialization import (
    constant,
    fan_in,
    glorot_bound,
    normal,
    torch_bound,
    uniform,
)
from torchfolio.verification.reference import ModuleReference, Reference

# Table 1, and DeiT's Table 1: width, layers, heads, hidden width.
TABLE_1 = {
    "ti": (192, 12, 3, 768),
    "s": (384, 12, 6, 1536),
    "b": (768, 12, 12, 3072),
    "l": (1024, 24, 16, 4096),
}
TIMM = {"ti": "tiny", "s": "small", "b": "base", "l": "large"}
# transformers has queries, keys and values in three layers
QKV = (r"\.attention\.[qkv]_proj\.", ".self_attention.in_proj_")
OTHER_FORM = Form(num_classes=7, in_channels=3, image_size=(64, 64))

RULES = [
    constant("class_token", 0, "as torchvision's"),
    normal(r"encoder\.pos_embedding", lambda values, name: 0.02, "as torchvision's"),
    normal(r"conv_proj\.weight", lambda v, n: fan_in(v, n) ** -0.5, "as torchvision's"),
    constant(r"conv_proj\.bias|.*\.(in_proj_|out_proj\.)bias", 0, "as torchvision's"),
    uniform(r".*\.(in_proj_|mlp\.[03]\.)weight", glorot_bound, "as torchvision's"),
    normal(r".*\.mlp\.[03]\.bias", lambda values, name: 1e-6, "as torchvision's"),
    uniform(r".*\.out_proj\.weight", torch_bound, "torch's default"),
    constant(r"(.*\.)?ln(_\d)?\.weight", 1, "a layer norm starts as the identity"),
    constant(r"(.*\.)?ln(_\d)?\.bias", 0, "a layer norm starts as the identity"),
    constant(r"heads\.head\..*", 0, "Section 3.1, in fine-tuning"),
]


def criteria(card: Card, form: Form) -> Criteria:
    """Return the references of ``vit_<size>_<patch>``."""
    found = re.match(r"vit_(\w+)_(\d+)$", card.name)
    assert found is not None
    size, patch = found[1], int(found[2])
    references = [partial(from_torchvision, size, patch, form)]
    result = Criteria(references, form.image_size, RULES, batch=1)
    for package, make in (("timm", from_timm), ("transformers", from_transformers)):
        if installed(package):
            result.references = [*result.references, partial(make, size, patch, form)]
        else:
            result.notes.append(absent(package))
    return result


def from_torchvision(size: str, patch: int, form: Form) -> Reference:
    """Return torchvision's module of a size, for square images."""
    import torchvision

    width, layers, heads, hidden = TABLE_1[size]
    side, classes = form.image_size[0], form.num_classes
    kind = torchvision.models.VisionTransformer
    module = kind(side, patch, layers, heads, width, hidden, num_classes=classes)
    title = f"torchvision {torchvision.__version__} VisionTransformer {size}/{patch}"
    return ModuleReference(title, module, ordered=True)


def from_timm(size: str, patch: int, form: Form) -> Reference:
    """Return timm's network."""
    timm = importlib.import_module("timm")
    own = 16 if size == "ti" else patch  # of Ti it has no other
    name = f"vit_{TIMM[size]}_patch{own}_224"
    given = {"num_classes": form.num_classes, "img_size": form.image_size[0], "patch_size": patch}
    module = timm.create_model(name, pretrained=False, **given)
    title = f"timm {installed('timm')} {name}"
    title += f" with patches of {patch} pixels" if patch != own else ""
    return ModuleReference(title, module, RENAMES)


def from_transformers(size: str, patch: int, form: Form) -> Reference:
    """Return the network of transformers, with the epsilon of the authors' code.

    Its own is 1e-12. Of its ways to compute attention, one takes the softmax in float32 whatever
    the type; this is the other.
    """
    transformers = importlib.import_module("transformers")
    width, layers, heads, hidden = TABLE_1[size]
    config = transformers.ViTConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=hidden,
        patch_size=patch,
        image_size=form.image_size[0],
        num_channels=form.in_channels,
        num_labels=form.num_classes,
        layer_norm_eps=1e-6,
        attn_implementation="sdpa",
    )
    module = transformers.ViTForImageClassification(config)
    module.register_forward_hook(lambda _, inputs, output: output.logits)
    title = f"transformers {installed('transformers')} ViTForImageClassification {size}/{patch}"
    return ModuleReference(title, module, [QKV, *RENAMES])
