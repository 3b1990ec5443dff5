"""The least that a training with PyTorch begins with: import it and make an optimizer."""

import torch

from benchmarks.peers.request import first_step

if __name__ == "__main__":
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    first_step()
