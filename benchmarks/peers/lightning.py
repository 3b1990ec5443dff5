"""Lightning: a LightningModule and a Trainer as it comes, with progress bar, logs, checkpoints."""

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers.networks import make_network
from benchmarks.peers.pytorch import make_optimizer, make_scheduler
from benchmarks.peers.request import Request, answer, first_step
from benchmarks.peers.torch_data import make_loaders


class Classifier(lightning.LightningModule):  # type: ignore[misc]
    """A network with cross-entropy."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request
        self.network = make_network(request.network, request.size, request.start)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        images, labels = batch
        smoothing = self.request.label_smoothing
        loss = F.cross_entropy(self.network(images), labels, label_smoothing=smoothing)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def measure(self, batch: tuple[Tensor, Tensor], name: str) -> None:
        images, labels = batch
        right = (self.network(images).argmax(1) == labels).float().mean()
        self.log(name, right, prog_bar=True, batch_size=len(images))

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        self.measure(batch, "val_accuracy")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        self.measure(batch, "test_accuracy")

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.network, self.request)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = make_scheduler(optimizer, self.request, steps)
        if scheduler is None:
            return optimizer
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class FirstStep(Callback):  # type: ignore[misc]
    """Marks the first training step."""

    def on_train_batch_end(self, *_: Any) -> None:
        first_step()


def main() -> None:
    """Train, validate after every epoch, test at the end."""
    request = Request.read()
    lightning.seed_everything(request.seed)
    torch.set_float32_matmul_precision("highest")
    loaders = make_loaders(request)
    trainer = lightning.Trainer(
        max_epochs=request.epochs,
        accelerator="gpu" if request.device != "cpu" else "cpu",
        devices=1,
        precision="bf16-mixed" if request.precision == "bf16" else "32-true",
        callbacks=[FirstStep()],
    )
    model = Classifier(request)
    trainer.fit(model, loaders["train"], loaders["val"])
    result = trainer.test(model, loaders["test"])[0]
    count = len(loaders["test"].dataset)  # type: ignore[arg-type]
    answer(result["test_accuracy"], count, "lightning", "torch", "torchvision")


if __name__ == "__main__":
    main()
