"""The trainings of docs/results.md that say where things are: masks and boxes."""

from trainings import Training

# A U-Net of a third of the paper's width and three levels: what two cores train in minutes.
SMALL = "--set depth=3 --set width=24 --recipe modern --max-side {side} --crop-size {crop}"
DICE = ("picture_dice", "object_recall", "false_alarms", "dice", "iou")
TUMOURS = "Tumours"


def tumours(what: str, folder: str, network: str, side: int, epochs: int) -> Training:
    """Return a training on one of the six layouts of tumours."""
    shape = "" if network.startswith("unet_vgg") else "--set depth=3 --set width=24 "
    return Training(
        TUMOURS,
        what,
        f"{network} {{data}}/tumours/{folder} {shape}--recipe modern --image-size {side} "
        f"--epochs {epochs} --batch-size 4",
        figures=DICE,
    )
