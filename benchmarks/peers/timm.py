"""timm: its network, loaders and optimizer, in a loop with the settings of its train.py.

That script is not in timm's wheel, so a loop of ours stands for it.
"""

import timm
import torch
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy
from torch import nn

from benchmarks.peers.request import Request, answer, first_step


def main() -> None:
    """Train on photographs, validate after every epoch, test at the end."""
    request = Request.read()
    torch.manual_seed(request.seed)
    device = torch.device(request.device)
    model = timm.create_model(request.network, pretrained=False, num_classes=10).to(device)
    loaders = {
        split: create_loader(
            create_dataset("", root=f"{request.data}/{split}"),
            input_size=(3, request.size, request.size),
            batch_size=request.batch_size,
            is_training=split == "train",
            use_prefetcher=device.type == "cuda",
            scale=(request.crop_area, 1.0),
            color_jitter=None,
            crop_pct=7 / 8,
            num_workers=request.workers,
            device=device,
        )
        for split in ("train", "val", "test")
    }
    # timm's "sgd" has Nesterov's momentum, its "momentum" has not
    name = "momentum" if request.optimizer == "sgd" else request.optimizer
    optimizer = create_optimizer_v2(model, opt=name, lr=request.lr, momentum=0.9, weight_decay=0.0)
    scheduler = None
    if request.schedule == "cosine":
        scheduler, _ = create_scheduler_v2(
            optimizer,
            sched="cosine",
            num_epochs=request.epochs,
            step_on_epochs=False,
            updates_per_epoch=len(loaders["train"]),
        )
    criterion = nn.CrossEntropyLoss(label_smoothing=request.label_smoothing)
    updates = 0
    for epoch in range(request.epochs):
        model.train()
        losses = AverageMeter()
        for images, labels in loaders["train"]:
            images, labels = images.to(device), labels.to(device)
            loss = criterion(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.update(loss.item(), len(images))
            first_step()
            updates += 1
            if scheduler is not None:
                scheduler.step_update(num_updates=updates)
        top1 = validate(model, loaders["val"], device)
        print(f"epoch {epoch} loss {losses.avg:.4f} top1 {top1.avg:.2f}")
    top1 = validate(model, loaders["test"], device)
    answer(top1.avg / 100, top1.count, "timm", "torch", "torchvision")


@torch.inference_mode()
def validate(model: nn.Module, loader: torch.utils.data.DataLoader, device: torch.device):  # type: ignore[no-untyped-def,type-arg]
    """Return the meter of the top-1 accuracy, in %."""
    model.eval()
    meter = AverageMeter()
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        meter.update(accuracy(model(images), labels)[0].item(), len(images))
    return meter


if __name__ == "__main__":
    main()
