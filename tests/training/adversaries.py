"""Toy tasks of several steps or parts, and tasks that fail or take long."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from toys import Regression, RowBatch

from torchfolio.tasks.base import Parts, Step


class Adversaries(Regression):
    """A generator of numbers against a discriminator, with a pool of old fakes (Shrivastava)."""

    name = "adversaries"

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.noises: list[float] = []
        self.pool: list[Tensor] = []

    def parts(self, *_: Any, **__: Any) -> Parts:
        torch.manual_seed(0)
        return Parts(generator=nn.Linear(2, 4), discriminator=nn.Linear(4, 1))

    def draw(self, what: str, batch: RowBatch) -> Tensor:
        noise = torch.randn(len(batch), 2)
        self.events.append(f"noise {what} of {len(batch)}")
        self.noises.append(noise[0, 0].item())
        return noise

    def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
        noise = self.draw("d", batch)

        def judge() -> Tensor:
            self.events.append("judge")
            fakes = parts.generator(noise).detach()
            mixed = torch.cat([fakes[:1], *self.pool])
            real = parts.discriminator(batch.inputs)
            return (
                nn.functional.softplus(-real).mean()
                + nn.functional.softplus(parts.discriminator(mixed)).mean()
            )

        yield Step(judge, ("discriminator",), "d_loss")
        noise = self.draw("g", batch)

        def fool() -> Tensor:
            self.events.append("fool")
            return nn.functional.softplus(-parts.discriminator(parts.generator(noise))).mean()

        yield Step(fool, ("generator",), "g_loss")
        with torch.no_grad():
            self.pool = [*self.pool[-3:], parts.generator(noise)[:1]]

    def predict(self, parts: Parts, batch: RowBatch) -> Tensor:
        return parts.discriminator(parts.generator(torch.randn(len(batch), 2))).mean().abs()

    def state_dict(self) -> dict[str, Any]:
        return {"pool": self.pool}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pool = state["pool"]


class Critics(Adversaries):
    """Wasserstein with gradient penalty: five steps of the critic to one of the generator."""

    name = "critics"
    monitor = None

    def steps(self, parts: Parts, batch: RowBatch) -> Iterator[Step]:
        for _ in range(5):
            noise, share = self.draw("d", batch), torch.rand(len(batch), 1)

            def criticise(noise: Tensor = noise, share: Tensor = share) -> Tensor:
                fakes = parts.generator(noise).detach()
                between = (share * batch.inputs + (1 - share) * fakes).requires_grad_()
                value = parts.discriminator(between.tanh()).sum()
                (slope,) = torch.autograd.grad(value, between, create_graph=True)
                penalty = (slope.norm(2, dim=1) - 1).square().mean()
                gap = parts.discriminator(fakes).mean() - parts.discriminator(batch.inputs).mean()
                self.events.append("critic")
                return gap + 10 * penalty

            yield Step(criticise, ("discriminator",), "critic_loss")
        noise = self.draw("g", batch)

        def fool() -> Tensor:
            self.events.append("generator")
            return -parts.discriminator(parts.generator(noise)).mean()

        yield Step(fool, ("generator",), "generator_loss")


class Broken(Regression):
    """Its loss is no number from a certain update on."""

    def __init__(self, value: float, after: int) -> None:
        super().__init__()
        self.value, self.after, self.taken = value, after, 0

    def error(self, parts: Parts, batch: RowBatch) -> Tensor:
        self.taken += 1
        loss = super().error(parts, batch)
        return loss * self.value if self.taken > self.after else loss


class Slow(Regression):
    """Each update takes a while."""

    def error(self, parts: Parts, batch: RowBatch) -> Tensor:
        time.sleep(0.02)
        return super().error(parts, batch)


def normed_network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
