"""Segmentation in the manner of torchvision's reference scripts (references/segmentation).

The network is torchvision's (``fcn_resnet50``) or that of segmentation-models-pytorch
(``unet_vgg16``). Pictures and masks are resized at random by 0.5 to 2, mirrored, and cropped; whole
pictures are asked one by one.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as T

from benchmarks.peers.request import Request, answer, first_step
from benchmarks.peers.torch_data import IMAGENET

CLASSES = 3
BASE, CROP = 120, 96  # pixels of the shorter side, and of a crop
IGNORED = 255
Pair = tuple[Tensor, Tensor]


def prepared(image: Image.Image, mask: Image.Image) -> Pair:
    """Return a picture as a normalised tensor, and its classes."""
    return T.normalize(T.to_tensor(image), *IMAGENET), T.pil_to_tensor(mask)[0].long()


def augmented(image: Image.Image, mask: Image.Image) -> Pair:
    """Return a random crop of a picture and its mask."""
    side = random.randint(BASE // 2, 2 * BASE)
    image = T.resize(image, [side])
    mask = T.resize(mask, [side], interpolation=T.InterpolationMode.NEAREST)
    if random.random() < 0.5:
        image, mask = T.hflip(image), T.hflip(mask)
    width, height = image.size
    down, across = max(0, CROP - height), max(0, CROP - width)
    image = T.pad(image, [0, 0, across, down], fill=0)
    mask = T.pad(mask, [0, 0, across, down], fill=IGNORED)
    width, height = image.size
    top, left = random.randint(0, height - CROP), random.randint(0, width - CROP)
    return prepared(T.crop(image, top, left, CROP, CROP), T.crop(mask, top, left, CROP, CROP))


class Scenes(Dataset[Pair]):
    """Pictures and masks of one split."""

    def __init__(self, root: Path, split: str, transform: Callable[..., Pair]) -> None:
        self.images = sorted((root / split / "images").iterdir())
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Pair:
        path = self.images[index]
        mask = path.parent.parent / "masks" / f"{path.stem}.png"
        return self.transform(Image.open(path).convert("RGB"), Image.open(mask))


def make_network(name: str) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a network without weights, and the packages that it comes from."""
    if name == "fcn_resnet50":
        from torchvision.models.segmentation import fcn_resnet50

        found = fcn_resnet50(
            weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True
        )
        return found, ("torch", "torchvision")
    import segmentation_models_pytorch as smp

    found = smp.Unet("vgg16", encoder_weights=None, classes=CLASSES)
    return found, ("torch", "torchvision", "segmentation-models-pytorch")


def criterion(outputs: Any, target: Tensor) -> Tensor:
    """Return the cross-entropy, with half of an auxiliary head's."""
    if isinstance(outputs, Tensor):
        return F.cross_entropy(outputs, target, ignore_index=IGNORED)
    losses = {key: F.cross_entropy(x, target, ignore_index=IGNORED) for key, x in outputs.items()}
    return losses["out"] + 0.5 * losses["aux"]


@torch.inference_mode()
def evaluate(model: nn.Module, loader: DataLoader[Pair], device: str) -> float:
    """Return the mean IoU of whole pictures."""
    model.eval()
    matrix = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for image, target in loader:
        height, width = image.shape[-2:]
        padded = F.pad(image, (0, -width % 32, 0, -height % 32))
        outputs = model(padded.to(device))
        scores = outputs if isinstance(outputs, Tensor) else outputs["out"]
        said = scores[..., :height, :width].argmax(1).cpu()
        pairs = CLASSES * target.flatten() + said.flatten()
        matrix += torch.bincount(pairs, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    hits = matrix.diag().float()
    return float((hits / (matrix.sum(0) + matrix.sum(1) - hits)).mean())


def main() -> None:
    """Train, look at the validation split after every epoch, test at the end."""
    request = Request.read()
    torch.manual_seed(request.seed)
    random.seed(request.seed)
    root = Path(request.data)
    train = DataLoader(
        Scenes(root, "train", augmented), request.batch_size, shuffle=True,
        num_workers=request.workers, drop_last=True,
    )  # fmt: skip
    val, test = (
        DataLoader(Scenes(root, split, prepared), 1, num_workers=request.workers)
        for split in ("val", "test")
    )
    model, packages = make_network(request.network)
    model.to(request.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=request.lr, momentum=0.9)
    for epoch in range(request.epochs):
        model.train()
        for step, (image, target) in enumerate(train):
            loss = criterion(model(image.to(request.device)), target.to(request.device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % 10 == 0:
                print(f"step {step} loss {loss.item():.4f}")
                first_step()
        print(f"epoch {epoch} mean IoU {evaluate(model, val, request.device):.4f}")
    answer(evaluate(model, test, request.device), len(test), *packages)


if __name__ == "__main__":
    main()
