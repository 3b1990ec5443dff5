"""COCO's average precision: as a run computes it after every epoch, beside pycocotools.

    python -m benchmarks.average_precision [--rounds N]

Random objects and detections near them, the same for both, from arrays to the twelve numbers, in
turn in one process; kept are the seconds of each and the largest difference of a number.
"""

import argparse
import contextlib
import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ceiling import hardware
from benchmarks.results import slug
from torchfolio.data.boxes import Objects, box_areas
from torchfolio.evaluation.detection import COCO, annotation, coco_statistics
from torchfolio.evaluation.matching import Detections

# Pictures, classes, objects and detections a picture: blood cells, and COCO's validation part.
SIZES = ((72, 3, 13, 40), (1_000, 80, 7, 100))
RESULTS = Path(__file__).parent / "average_precision"


def drawn(
    pictures: int, classes: int, objects: int, detections: int
) -> tuple[list[Objects], list[Detections]]:
    """Return objects of all sizes, and detections of which half lie near one."""
    draw = np.random.default_rng(0)
    truths, answers = [], []
    for _ in range(pictures):
        corner = draw.uniform(0, 500, (objects, 2))
        boxes = np.concatenate([corner, corner + draw.uniform(5, 200, (objects, 2))], 1)
        boxes = boxes.astype(np.float32)
        labels = draw.integers(0, classes, objects)
        none = np.zeros(objects, bool)
        truths.append(Objects(boxes, labels, none, none, box_areas(boxes)))
        of = draw.integers(0, objects, detections)
        near = boxes[of] + draw.normal(0, 8, (detections, 4)).astype(np.float32)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        said = np.where(draw.random(detections) < 0.7, labels[of], draw.integers(0, classes))
        scores = np.sort(draw.random(detections).astype(np.float32))[::-1]
        answers.append(Detections(near, scores, said))
    return truths, answers


def peer(truths: list[Objects], answers: list[Detections], classes: int) -> dict[str, float]:
    """Return the twelve numbers of pycocotools."""
    from pycocotools import coco, cocoeval

    known = coco.COCO()
    known.dataset = {
        "images": [{"id": place + 1} for place in range(len(truths))],
        "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
        "annotations": [],
    }
    rows: list[dict[str, Any]] = known.dataset["annotations"]
    for place, each in enumerate(truths):
        for box, label in zip(each.boxes, each.labels, strict=True):
            row = annotation(place, box, int(label))
            rows.append(row | {"id": len(rows) + 1, "iscrowd": 0})
    said = [
        annotation(place, box, int(label)) | {"score": float(score)}
        for place, each in enumerate(answers)
        for box, label, score in zip(each.boxes, each.labels, each.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        evaluation = cocoeval.COCOeval(known, known.loadRes(said), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(COCO, evaluation.stats.tolist(), strict=True))


def ours(truths: list[Objects], answers: list[Detections], classes: int) -> dict[str, float]:
    """Return the twelve numbers of a run."""
    return coco_statistics(truths, answers, np.ones((len(truths), 2), np.int64), classes)


def main() -> None:
    """Compute in turn, and write the seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = []
    for pictures, classes, objects, detections in SIZES:
        given = (*drawn(pictures, classes, objects, detections), classes)
        taken: dict[str, list[float]] = {"ours": [], "pycocotools": []}
        for _ in range(rounds):
            found = {}
            for name, compute in (("ours", ours), ("pycocotools", peer)):
                start = time.perf_counter()
                found[name] = compute(*given)
                taken[name].append(round(time.perf_counter() - start, 4))
        apart = [abs(found["ours"][key] - found["pycocotools"][key]) for key in COCO]
        row: dict[str, Any] = {
            "pictures": pictures,
            "classes": classes,
            "objects": pictures * objects,
        }
        row |= {"detections": pictures * detections, "seconds": taken, "difference": max(apart)}
        rows.append(row)
        print(json.dumps(row), flush=True)
    machine = hardware("cpu")
    document = {"hardware": machine, "began": datetime.now(UTC).isoformat(timespec="seconds")}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"average_precision_{slug(machine)}.json"
    path.write_text(json.dumps(document | {"rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
