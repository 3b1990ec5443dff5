from pathlib import Path

import numpy as np
import pytest
import torch

from torchfolio.data.readers import open_dataset
from torchfolio.data.readers.digits import enlarge
from torchfolio.errors import RequestError


def test_the_reader_and_the_name_belong_together(pets: Path, monkeypatch) -> None:
    for path in (pets, "mnist", pets / "absent"):
        with pytest.raises(RequestError, match="--reader digits reads the built-in data set of th"):
            open_dataset(path, reader="digits")
    with pytest.raises(RequestError, match="'digits' is the built-in data set, which the reader n"):
        open_dataset("digits", reader="npz")
    monkeypatch.chdir(pets.parent)
    pets.rename("digits")
    assert len(open_dataset("digits")) == 7  # a path that exists wins over a name
    assert len(open_dataset("digits", reader="image-folder")) == 7
    assert len(open_dataset("digits", reader="digits")) == 1797


def test_the_digits_are_those_of_scikit_learn_enlarged() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    dataset = open_dataset("digits")
    assert (dataset.name, dataset.path, dataset.reader) == ("digits", "digits", "digits")
    assert dataset.classes == tuple("0123456789")
    assert dataset.labels is not None
    assert np.array_equal(dataset.labels, digits.target)
    assert len(dataset) == 1797
    assert dataset.facts == {
        "channels": 1,
        "depth": 8,
        "size_min": [32, 32],
        "size_median": [32, 32],
        "size_max": [32, 32],
        "uniform": True,
    }
    # PyTorch's bilinear interpolation follows the same rule (align_corners=False)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(digits.images[:, None]), scale_factor=4, mode="bilinear"
    )
    expected = large[:, 0].numpy() * 255 / 16
    assert np.abs(dataset.records.array[..., 0] - expected).max() <= 0.5 + 1e-9


def test_a_step_is_mixed_in_proportion_to_distance() -> None:
    values = np.zeros((1, 8, 8), np.uint8)
    values[0, :, 4:] = 16
    row = enlarge(values)[0, 0]
    # centres of blocks 3 and 4 lie at 13.5 and 17.5: 14, 15, 16, 17 are 1/8, 3/8, 5/8, 7/8 on
    assert row.tolist() == [0] * 14 + [32, 96, 159, 223] + [255] * 14


def test_a_name_is_found_in_any_case() -> None:
    assert open_dataset("Digits").fingerprint == open_dataset("digits").fingerprint
