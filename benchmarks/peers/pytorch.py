"""Plain PyTorch in the manner of torchvision's reference scripts (references/classification)."""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.peers.networks import make_network
from benchmarks.peers.request import Request, answer, first_step
from benchmarks.peers.torch_data import make_loaders


def train_one_epoch(
    model: nn.Module,
    loader: DataLoader[tuple[Tensor, Tensor]],
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    request: Request,
) -> None:
    """Take the steps of one epoch; the loss is shown every ten."""
    model.train()
    for step, (images, labels) in enumerate(loader):
        images, labels = images.to(request.device), labels.to(request.device)
        with autocast(request):
            loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if step % 10 == 0:
            print(f"step {step} loss {loss.item():.4f}")
            first_step()


@torch.inference_mode()
def evaluate(
    model: nn.Module, loader: DataLoader[tuple[Tensor, Tensor]], request: Request
) -> float:
    """Return the accuracy."""
    model.eval()
    right = total = 0
    for images, labels in loader:
        with autocast(request):
            answers = model(images.to(request.device)).argmax(1).cpu()
        right += int((answers == labels).sum())
        total += len(labels)
    return right / total


def autocast(request: Request) -> torch.autocast:
    """Return the context that computes in the precision that was asked for."""
    kind = request.device.partition(":")[0]
    return torch.autocast(kind, torch.bfloat16, enabled=request.precision == "bf16")


def make_optimizer(model: nn.Module, request: Request) -> torch.optim.Optimizer:
    """Return the optimizer that was asked for."""
    if request.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=request.lr)
    return torch.optim.SGD(model.parameters(), lr=request.lr, momentum=0.9)


def make_scheduler(
    optimizer: torch.optim.Optimizer, request: Request, steps: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """Return the schedule over so many steps, ``None`` for a constant rate."""
    if request.schedule == "constant":
        return None
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)


def main() -> None:
    """Train, look at the validation split after every epoch, test at the end."""
    request = Request.read()
    torch.manual_seed(request.seed)
    loaders = make_loaders(request)
    model = make_network(request.network, request.size, request.start).to(request.device)
    criterion = nn.CrossEntropyLoss(label_smoothing=request.label_smoothing)
    optimizer = make_optimizer(model, request)
    scheduler = make_scheduler(optimizer, request, request.epochs * len(loaders["train"]))
    for epoch in range(request.epochs):
        train_one_epoch(model, loaders["train"], criterion, optimizer, scheduler, request)
        print(f"epoch {epoch} accuracy {evaluate(model, loaders['val'], request):.4f}")
    accuracy = evaluate(model, loaders["test"], request)
    answer(accuracy, len(loaders["test"].dataset), "torch", "torchvision")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
