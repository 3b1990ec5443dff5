import torch

from torchfolio.layers.padding import padded


def test_the_last_row_and_column_are_repeated_to_the_next_multiple() -> None:
    images = torch.tensor([[[[1.0, 2, 3], [4, 5, 6]]]])
    assert padded(images, 4).tolist() == [
        [[[1, 2, 3, 3], [4, 5, 6, 6], [4, 5, 6, 6], [4, 5, 6, 6]]]
    ]


def test_sides_that_fit_stay() -> None:
    images = torch.zeros(1, 1, 4, 8)
    assert padded(images, 4) is images
