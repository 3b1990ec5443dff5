"""Figures as small SVG text that reads well in light and in dark, on paper and on a phone.

Importing this imports matplotlib.
"""

from torchfolio.evaluation.figures.canvas import standalone
from torchfolio.evaluation.figures.classes import (
    class_balance,
    class_scores,
    confusion_matrix,
    labels_together,
    pixel_confusion,
)
from torchfolio.evaluation.figures.curves import (
    learning_curve,
    precision_recall_curves,
    reliability_diagram,
    roc_curves,
)
from torchfolio.evaluation.figures.filters import first_layer_filters
from torchfolio.evaluation.figures.sheets import picture_sheet

__all__ = [
    "class_balance",
    "class_scores",
    "confusion_matrix",
    "first_layer_filters",
    "labels_together",
    "learning_curve",
    "picture_sheet",
    "pixel_confusion",
    "precision_recall_curves",
    "reliability_diagram",
    "roc_curves",
    "standalone",
]
