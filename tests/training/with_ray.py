"""A training inside Ray Train's workers, on a cluster of this machine; test_ray.py starts it."""

import sys
from typing import Any

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer


def train(settings: dict[str, Any]) -> None:
    import torchfolio

    run = torchfolio.train("lenet5", "digits", report=False, **settings)
    ray.train.report({"accuracy": run.metrics["metrics"]["accuracy"]["value"]})


if __name__ == "__main__":
    out, storage = sys.argv[1:]
    ray.init(num_cpus=2, include_dashboard=False)
    settings = {"out": out, "epochs": 2, "workers": 0, "device": "cpu"}
    trainer = TorchTrainer(
        train,
        train_loop_config=settings,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(storage_path=storage, name="torchfolio"),
    )
    trainer.fit()
