"""Write the handwritten digits that come with the package, from scikit-learn's copy.

``sklearn.datasets.load_digits`` is the test part of UCI's "Optical Recognition of Handwritten
Digits" (optdigits.tes): 1,797 pictures of 8x8 values from 0 to 16. They are stored as they are.

    python tools/make_digits.py src/torchfolio/data/digits/digits.npz
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def main(target: Path) -> None:
    """Write the file, with the pictures in their original order."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)  # (1797, 8, 8)
    if images.shape != (1797, 8, 8) or not np.array_equal(images, digits.images):
        raise SystemExit("load_digits no longer gives 1,797 pictures of 8x8 whole numbers.")
    np.savez_compressed(target, images=images, labels=digits.target.astype(np.uint8))
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
