"""Answers of several labels a picture: what a row says and how it is drawn, without torch."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from torchfolio.evaluation.thresholds import MIDDLE
from torchfolio.options import option
from torchfolio.tasks.image_answers import BAR, ExportedPictures, draw_bars

NOT_GIVEN = "#e8e6e1"  # the colour of a label's probability below its threshold
COLUMNS = 100  # labels whose probabilities are all written into tables; of more, the highest are


@dataclass(frozen=True)
class MultilabelAnswerOptions:
    """Settings of the answers of several labels a picture."""

    top: int = option(3, "How many labels to name, with probabilities.", low=1)


class LabelRows:
    """How the rows of labelled pictures are made and shown: a line, columns, a picture."""

    noun: ClassVar[str] = "label"

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """The labels, in the order of the probabilities."""

    @property
    @abstractmethod
    def thresholds(self) -> NDArray[np.float64]:
        """The probability of each label from which on a picture has it (labels,)."""

    def given(self, probabilities: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which labels are given, from their probabilities; both (..., labels)."""
        return probabilities >= self.thresholds

    def said(self, probabilities: Any, top: int) -> dict[str, Any]:
        """Return what a row says of one picture, from its probabilities (labels,)."""
        names, thresholds = self.classes, self.thresholds
        order = np.argsort(-probabilities, kind="stable").tolist()
        given = self.given(probabilities)
        return {
            "prediction": [names[each] for each in order if given[each]],
            "probability": dict(zip(names, probabilities.tolist(), strict=True)),
            "top": [
                {
                    "label": names[each],
                    "probability": float(probabilities[each]),
                    "threshold": float(thresholds[each]),
                    "given": bool(given[each]),
                }
                for each in order[:top]
            ],
        }

    def line(self, row: dict[str, Any]) -> str:
        """Return an answer as the text that a person reads."""
        places = ", ".join(f"{each['label']} {each['probability']:.1%}" for each in row["top"])
        return f"{', '.join(row['prediction']) or 'no label'} ({places})"

    def briefly(self, row: dict[str, Any]) -> str:
        """Return the answer alone as text: the labels given, with their probabilities."""
        likely = row["probability"]
        return ", ".join(f"{each} {likely[each]:.1%}" for each in row["prediction"]) or "no label"

    def cells(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return an answer as columns of a table: plain values in order."""
        shown = row["probability"].items()
        if len(shown) > COLUMNS:
            shown = [(each["label"], each["probability"]) for each in row["top"]]
        joined = {"input": row["input"], "prediction": joined_labels(row["prediction"])}
        return joined | {f"p({name})": probability for name, probability in shown}

    def picture(self, row: dict[str, Any], target: Path) -> Path | None:
        """Write an answer as a picture; return its path."""
        shown = dict.fromkeys([*row["prediction"], *(each["label"] for each in row["top"])])
        bars = [
            (name, row["probability"][name], BAR if name in row["prediction"] else NOT_GIVEN)
            for name in shown
        ]
        return draw_bars(Path(row["input"]), bars, target)


class LabelAnswers(LabelRows, ExportedPictures):
    """The answers of an exported network: several labels a picture, by the run's thresholds."""

    Options = MultilabelAnswerOptions

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__(facts)
        self.limits = np.array(facts.get("thresholds", [MIDDLE] * len(self.names)), np.float64)
        if self.limits.shape != (len(self.names),):
            raise ValueError(f"{len(self.names)} labels, thresholds {self.limits.shape}")

    @property
    def classes(self) -> list[str]:
        return self.names

    @property
    def thresholds(self) -> NDArray[np.float64]:
        return self.limits


def joined_labels(labels: Sequence[str]) -> str:
    """Return labels as one cell of a table, which is read as such a list again."""
    return "|".join(labels)
