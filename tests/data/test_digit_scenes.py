import numpy as np
import pytest

from torchfolio import open_data
from torchfolio.connected import objects
from torchfolio.data.readers.digits import read_digits
from torchfolio.errors import RequestError


def test_every_digit_stands_in_one_scene() -> None:
    data = open_data("digit-scenes")
    assert data.kind == "semantic-segmentation"
    assert data.classes == ("background", *"0123456789")
    found = np.zeros(11, int)
    for index in range(len(data)):
        mask = data.records.masks.get(index)
        assert objects(mask > 0)[1] >= 1
        for digit in np.unique(mask[mask > 0]):
            found[digit] += objects(mask == digit)[1]
    there = np.bincount(read_digits()[1])
    assert (found[1:] >= 0.95 * there).all()  # two alike that touch are one object
    assert (found[1:] <= 1.6 * there).all()  # strokes may be broken


def test_digits_are_brighter_than_the_paper() -> None:
    data = open_data("digit_scenes")  # hyphen and underscore are the same
    for index in range(0, len(data), 50):
        pixels, mask = data.records.pixels(index)[..., 0], data.records.masks.get(index)
        assert pixels[mask > 0].mean() > pixels[mask == 0].mean() + 60


def test_scenes_are_always_the_same() -> None:
    assert open_data("digit-scenes").fingerprint == open_data("digit-scenes").fingerprint


def test_the_built_in_scenes_are_read_by_their_reader() -> None:
    with pytest.raises(RequestError, match="--reader digit-scenes reads the built-in data"):
        open_data("digits-elsewhere", reader="digit-scenes")
    with pytest.raises(RequestError, match="which the reader digits does not read"):
        open_data("digit-scenes", reader="digits")
