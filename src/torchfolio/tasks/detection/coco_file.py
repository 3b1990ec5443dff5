"""The answers of a detector in one file of COCO's form, each picture once."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchfolio.checkpoint import write_text
from torchfolio.errors import FolioError


class CocoFile:
    """Pictures and their objects; what earlier answers wrote into the file stays in it.

    A picture is told by its ``path``, in the place of what was said of it before; ``file_name`` is
    its path below the folder that all pictures of the file lie in. Raises ``FolioError`` for a file
    that is damaged, or of other classes.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self.path = path
        self.categories = [{"id": place, "name": each} for place, each in enumerate(classes, 1)]
        self.images: dict[str, dict[str, Any]] = {}  # by path, or by name where there is none
        self.said: dict[int, list[dict[str, Any]]] = {}  # objects of each picture's number
        self.waiting, self.due = 0, 1  # pictures since it was written; at so many it is again
        if path.is_file():
            self.read()
        self.number = max((each["id"] for each in self.images.values()), default=0)
        self.last = max((each["id"] for rows in self.said.values() for each in rows), default=0)

    def read(self) -> None:
        """Take what the file has; raise where it cannot be gone on with."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            classes = [each["name"] for each in found["categories"]]
            for each in found["images"]:
                self.images[each.get("path", each["file_name"])] = each
                self.said[int(each["id"])] = []
            for each in found["annotations"]:
                self.said[each["image_id"]].append(each | {"id": int(each["id"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FolioError(
                f"{self.path} is damaged or no file of boxes ({error}). Move it away, or name "
                "another folder."
            ) from error
        if classes != [each["name"] for each in self.categories]:
            raise FolioError(
                f"{self.path} holds boxes of other classes. Move it away, or name another folder."
            )

    def add(
        self,
        source: Path,
        size: tuple[int, int],
        objects: Sequence[dict[str, Any]],
        labels: Sequence[int],
    ) -> None:
        """Take a picture of (height, width) with its objects, each with the number of its class.

        The file is written when as many were taken as it then had: all writing together costs no
        more than a few times the last.
        """
        path = os.path.normpath(source.absolute())
        old = self.images.pop(path, None) or self.images.pop(source.name, None)
        if old is not None:
            del self.said[old["id"]]
        self.number += 1
        height, width = size
        image = {"id": self.number, "file_name": source.name, "height": height, "width": width}
        self.images[path] = image | {"path": path}
        self.said[self.number] = rows = []
        for each, label in zip(objects, labels, strict=True):
            left, top, right, bottom = each["box"]
            self.last += 1
            rows.append(
                {
                    "id": self.last,
                    "image_id": self.number,
                    "category_id": label + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                    "score": each["score"],
                }
            )
        self.waiting += 1
        if self.waiting >= self.due:
            self.write()

    def write(self) -> None:
        """Write the file."""
        paths = [key for key, each in self.images.items() if "path" in each]
        try:
            top = os.path.commonpath([str(Path(each).parent) for each in paths])
        except ValueError:  # on several drives
            top = ""
        for each in paths:
            name = os.path.relpath(each, top) if top else each
            self.images[each]["file_name"] = name.replace(os.sep, "/")
        found = {
            "images": list(self.images.values()),
            "annotations": [row for rows in self.said.values() for row in rows],
            "categories": self.categories,
        }
        write_text(self.path, json.dumps(found, ensure_ascii=False))
        self.waiting, self.due = 0, len(self.images)
