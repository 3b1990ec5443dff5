"""Which detections find which objects: COCO's rule, and what average precision makes of it.

The rule (COCO's evaluation code; Lin et al., 2014): within a picture and a class, detections are
taken by falling score, and each takes the object that overlaps it most, of those not yet taken
whose overlap reaches a threshold. Objects set aside (crowds, difficult ones) are taken only where
no other is; a detection that finds one, or that lies mostly in a crowd, is neither right nor wrong.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of overlap
RECALLS = np.linspace(0, 1, 101)  # at which COCO reads precision
POINTS = np.arange(11) / 10  # at which VOC did until 2007; the 0.3 of linspace is above 3 / 10
MOST = 100  # detections of a class in a picture that count

Floats = NDArray[np.float64]


class Boxed(Protocol):
    """The objects of a picture: boxes (objects, 4), labels, what is set aside, crowds, areas."""

    @property
    def boxes(self) -> NDArray[np.float32]: ...
    @property
    def labels(self) -> NDArray[np.int64]: ...
    @property
    def aside(self) -> NDArray[np.bool_]: ...
    @property
    def crowd(self) -> NDArray[np.bool_]: ...
    @property
    def areas(self) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Detections:
    """What a detector says of one picture, by falling score.

    ``boxes`` (detections, 4) float32: left, top, right, bottom in pixels; ``scores`` (detections,)
    from 0 to 1; ``labels`` (detections,) int64.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, where: NDArray[Any]) -> "Detections":
        """Return some of the detections: by indices, or by a mask."""
        return Detections(self.boxes[where], self.scores[where], self.labels[where])

    def moved(self, boxes: NDArray[Any]) -> "Detections":
        """Return the same detections with other boxes."""
        return Detections(boxes.astype(np.float32), self.scores, self.labels)


def overlaps(boxes: NDArray[Any], others: NDArray[Any], crowd: NDArray[np.bool_]) -> Floats:
    """Return the intersection over union of each pair. Shape: (boxes, 4), (others, 4) -> (b, o).

    Where ``crowd`` (others,) it is the share of the first box that lies in the other.
    """
    boxes, others = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    low, high = (
        np.maximum(boxes[..., :2], others[..., :2]),
        np.minimum(boxes[..., 2:], others[..., 2:]),
    )
    both = (high - low).clip(0).prod(-1)
    area, other = (each[..., 2:] - each[..., :2] for each in (boxes, others))
    union = area.prod(-1) + np.where(crowd, 0, other.prod(-1) - both)
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


@dataclass(frozen=True)
class Matches:
    """What became of the detections of one class in all pictures, by falling score.

    ``scores``, ``pictures`` (detections,); ``right`` and ``counted`` (thresholds, detections):
    which found an object, and which are right or wrong at all; ``objects`` (pictures,) how many
    there are to find; ``taken`` the place of the object found (thresholds, detections), or -1.
    """

    scores: NDArray[np.float32]
    pictures: NDArray[np.int64]
    right: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    objects: NDArray[np.int64]
    taken: NDArray[np.int64]
    places: NDArray[np.int64]  # (detections,): of each among its picture's detections


def match_class(
    truths: Sequence[Boxed],
    answers: Sequence[Detections],
    label: int,
    thresholds: Floats = THRESHOLDS,
    most: int = MOST,
    rule: Callable[[Floats, NDArray[np.bool_], Floats], NDArray[np.int64]] | None = None,
) -> Matches:
    """Match the detections of one class with its objects, picture by picture: by :func:`match`.

    ``rule`` is another rule in its place, :func:`match_voc`.
    """
    parts: list[tuple[Any, ...]] = []
    objects = np.zeros(len(truths), np.int64)
    for picture, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
        own = np.flatnonzero(truth.labels == label)
        said = np.flatnonzero(answer.labels == label)
        objects[picture] = int((~truth.aside[own]).sum())
        if not len(said):
            continue
        said = said[np.argsort(-answer.scores[said], kind="stable")][:most]
        aside = truth.aside[own]
        crowd = truth.crowd[own] if rule else aside  # COCO's code knows crowds alone
        shared = overlaps(answer.boxes[said], truth.boxes[own], crowd)
        taken = (rule or match)(shared, aside, thresholds)
        found = taken >= 0
        left_out = found & np.append(aside, False)[taken]
        where = np.where(found, np.append(own, -1)[taken], -1)
        parts.append(
            (
                answer.scores[said],
                np.full(len(said), picture),
                found & ~left_out,
                ~left_out,
                where,
                said,
            )
        )
    if not parts:
        empty = np.zeros((len(thresholds), 0), bool)
        none = np.zeros(0, np.int64)
        return Matches(
            np.zeros(0, np.float32), none, empty, empty, objects, empty.astype(np.int64), none
        )
    scores, pictures, right, counted, where, places = (
        np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)
    )
    order = np.argsort(-scores, kind="stable")
    return Matches(
        scores[order],
        pictures[order],
        right[:, order],
        counted[:, order],
        objects,
        where[:, order],
        places[order],
    )


def match(shared: Floats, aside: NDArray[np.bool_], thresholds: Floats) -> NDArray[np.int64]:
    """Return which object each detection takes at each threshold; -1 where none.

    ``shared`` (detections, objects) are overlaps, the detections by falling score; ``aside``
    (objects,). Shape: (thresholds, detections).
    """
    taken = np.full((len(thresholds), len(shared)), -1, np.int64)
    if not shared.size:
        return taken
    order = np.argsort(aside, kind="stable")  # those to find before those set aside
    for place, threshold in enumerate(np.minimum(thresholds, 1 - 1e-10)):
        free = np.ones(shared.shape[1], bool)
        for row, overlap in enumerate(shared):
            best, least = -1, threshold
            for each in order.tolist():
                if not free[each] and not aside[each]:
                    continue
                if best >= 0 and aside[each] and not aside[best]:
                    break
                if overlap[each] >= least:
                    best, least = each, overlap[each]
            if best >= 0:
                taken[place, row] = best
                free[best] = bool(aside[best])
    return taken


def match_voc(shared: Floats, aside: NDArray[np.bool_], thresholds: Floats) -> NDArray[np.int64]:
    """Return which object each detection takes by VOC's rule, as :func:`match` does by COCO's.

    A detection means the object that it overlaps most, whether that is taken or not: the second
    one of it is wrong (Everingham et al., 2010, Section 4.2).
    """
    taken = np.full((len(thresholds), len(shared)), -1, np.int64)
    if not shared.size:
        return taken
    meant = shared.argmax(1)
    for place, threshold in enumerate(thresholds):
        free = np.ones(shared.shape[1], bool)
        for row, each in enumerate(meant.tolist()):
            if shared[row, each] >= threshold and free[each]:
                taken[place, row] = each
                free[each] = bool(aside[each])
    return taken


def average_precision(matches: Matches, weights: NDArray[Any], recalls: Floats = RECALLS) -> Floats:
    """Return COCO's average precision at each threshold: the mean of precision at 101 recalls.

    ``weights`` (resamples, pictures) says how often each picture counts. Shape: (resamples,
    thresholds); not-a-number where no object is to be found.
    """
    there = weights @ matches.objects
    found = np.full((len(weights), len(matches.right)), np.nan)
    for row, amount in enumerate(there):
        if amount <= 0:
            continue
        each = weights[row, matches.pictures]
        for place in range(len(matches.right)):
            right = np.cumsum(each * matches.right[place])
            wrong = np.cumsum(each * (matches.counted[place] & ~matches.right[place]))
            found[row, place] = read_precision(right, wrong, amount, recalls).mean()
    return found


def read_precision(right: Floats, wrong: Floats, amount: float, recalls: Floats) -> Floats:
    """Return the best precision from each recall on, 0 beyond the highest that is reached."""
    recall, precision = right / amount, right / np.maximum(right + wrong, np.finfo(float).eps)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, recalls, side="left")
    return np.append(precision, 0.0)[place]


def voc_average_precision(matches: Matches, threshold: int = 0, *, points: bool = False) -> float:
    """Return VOC's average precision: the area under the curve, or, until 2007, of 11 ``points``.

    ``threshold`` is the place of the overlap, 0.5. Precision is the best from a recall on
    (Everingham et al., 2010, Section 4.2). Not-a-number without objects.
    """
    amount = float(matches.objects.sum())
    if not amount:
        return float("nan")
    counted = matches.counted[threshold]
    right = np.cumsum(matches.right[threshold][counted]).astype(np.float64)
    wrong = np.cumsum(~matches.right[threshold][counted]).astype(np.float64)
    if points:
        return float(read_precision(right, wrong, amount, POINTS).mean())
    recall, precision = right / amount, right / np.maximum(right + wrong, 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())
