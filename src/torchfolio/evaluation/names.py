"""What metrics are called, and how their values are shown."""

NAMES = {
    "accuracy": "Accuracy",
    "top5_accuracy": "Top-5 accuracy",
    "mean_average_precision": "Mean average precision",
    "micro_average_precision": "Micro average precision",
    "macro_precision": "Macro precision",
    "micro_precision": "Micro precision",
    "macro_recall": "Macro recall",
    "micro_recall": "Micro recall",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "weighted_f1": "Weighted F1",
    "subset_accuracy": "Subset accuracy",
    "hamming_loss": "Hamming loss",
    "log_loss": "Log-loss",
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "ece": "Calibration error",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP of small objects",
    "ap_medium": "AP of medium objects",
    "ap_large": "AP of large objects",
    "ar1": "AR with one box",
    "ar10": "AR with 10 boxes",
    "ar100": "AR with 100 boxes",
    "ar_small": "AR of small objects",
    "ar_medium": "AR of medium objects",
    "ar_large": "AR of large objects",
    "mean_iou": "Mean IoU",
    "mean_dice": "Mean Dice",
    "iou": "IoU",
    "dice": "Dice",
    "picture_dice": "Dice a picture",
    "object_recall": "Objects found",
    "false_alarms": "False alarms a picture",
    "area_error": "Area error",
    "rand_error": "Rand error",
    "pixel_accuracy": "Pixel accuracy",
    "mean_precision": "Mean precision",
    "mean_recall": "Mean recall",
}
AREAS = {"mean_average_precision", "micro_average_precision", "roc_auc", "average_precision"}
BOUNDED = NAMES.keys() - {"log_loss", "false_alarms", "area_error"}  # from 0 to 1
SHARES = BOUNDED - AREAS  # of examples or of answers: shown in per cent


def title(metric: str) -> str:
    """Return a metric's name as a title."""
    return NAMES.get(metric, metric.replace("_", " ").capitalize())


def within(metric: str) -> str:
    """Return a metric's name as it stands within a sentence: "macro F1", but "ROC AUC"."""
    name = title(metric)
    return name if name[:2].isupper() else name[0].lower() + name[1:]
