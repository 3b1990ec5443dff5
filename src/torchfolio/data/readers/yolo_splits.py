"""Splits of pictures that YOLO's files name: folders and lists in data.yaml, or lists alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from torchfolio.data.dataset import Problem
from torchfolio.data.folders import SPLIT_OF, SPLITS, counted, entries, listing, nfc, split_in

NOTHING = ("", "~", "null", "Null", "NULL")  # how a settings file leaves a split out


def splits_of(
    root: Path,
    file: Path | None,
    settings: Mapping[str, Any],
    pictures: Sequence[str],
    problems: list[Problem],
) -> tuple[list[str], set[str]]:
    """Return the split of each picture, "" for one that belongs to none, and the lists that told.

    ``settings`` are those of ``file``, data.yaml: under train, val and test a folder, a list of
    paths, or several of them. Without them such lists in the root decide (train.txt, valid.txt),
    and without these the names of folders.
    """
    told = told_splits(settings)
    source = shown(file, root) if file else ""
    if not told:
        told = {
            SPLIT_OF[stem]: [name]
            for name in entries(root)[1]
            if (stem := name.lower().removesuffix(".txt")) in SPLIT_OF and stem != name.lower()
        }
    places = Places(root, file, settings, pictures, problems)
    found: dict[str, str] = {}
    for split in SPLITS:
        shared: dict[str, int] = {}
        for entry in told.get(split, ()):
            named = places.named(entry)
            if not named:
                text = f"{split}: {entry} is not there, or holds no picture of {root}"
                problems.append(Problem(source or entry, text))
            for each in named:
                other = found.setdefault(each, split)
                if other != split:
                    shared[other] = shared.get(other, 0) + 1
        for other, number in shared.items():
            text = f"{split} names {counted(number, 'picture')} that {other} names too"
            problems.append(Problem(source or split, f"{text}: only in {other}"))
    if not found:
        return [split_in(each) or "train" for each in pictures], places.lists
    splits = [found.get(each) or split_in(each) for each in pictures]
    if "" in splits:
        number, first = splits.count(""), pictures[splits.index("")]
        text = f"{counted(number, 'picture')} in no split ({first} the first): left out"
        problems.append(Problem(source or "the lists of splits", text))
    return splits, places.lists


def told_splits(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the entries of each split."""
    found: dict[str, list[str]] = {}
    for key, value in settings.items():
        split = SPLIT_OF.get(str(key).lower())
        listed = value if isinstance(value, list) else [value]
        texts = [each for each in listed if isinstance(each, str) and each.strip() not in NOTHING]
        if split and texts:
            found.setdefault(split, []).extend(texts)
    return found


def shown(file: Path, root: Path) -> str:
    """Return a file's path below the root; as it is where it lies elsewhere."""
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)


class Places:
    """Finds the pictures that an entry means, whichever folder its paths begin at.

    They begin at "path" of data.yaml, at its folder, at the list's folder, or at a folder of the
    machine where the file was written: then what remains of the path decides.
    """

    def __init__(
        self,
        root: Path,
        file: Path | None,
        settings: Mapping[str, Any],
        pictures: Sequence[str],
        problems: list[Problem],
    ) -> None:
        self.root = root
        self.problems = problems
        self.lists: set[str] = set()
        self.known = {nfc(each): each for each in pictures}
        bases, told = [root], settings.get("path")
        if file is not None:
            bases = [file.parent, root]
            if isinstance(told, str):
                bases.insert(0, file.parent / told)
        self.bases = [each.resolve() for each in bases]

    def named(self, entry: str) -> list[str]:
        """Return the pictures of a folder, or of a list of paths; none where it is not there."""
        top = self.root.resolve()
        for place in self.paths(entry):
            if place.is_file():
                return list(self.listed(place))
            if place.is_dir() and place.is_relative_to(top):
                inside = nfc(place.relative_to(top).as_posix())
                prefix = "" if inside == "." else f"{inside}/"
                found = [path for name, path in self.known.items() if name.startswith(prefix)]
                if found:
                    return found
        return []

    def paths(self, entry: str) -> Iterator[Path]:
        """Give where an entry may lie: as it says, and without steps up that lead too far."""
        text = entry.strip().replace("\\", "/")
        for base in self.bases:
            yield (base / text).resolve()
        rest = [each for each in PurePosixPath(text).parts if each not in ("..", ".", "/")]
        for base in self.bases:
            yield base.joinpath(*rest)

    def listed(self, file: Path) -> Iterator[str]:
        """Give the pictures that a list names, a path a line."""
        name, lost = shown(file, self.root.resolve()), []
        inside = PurePosixPath(name).parent.parts
        self.lists.add(name)
        for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
            parts = [
                each
                for each in PurePosixPath(nfc(line.strip().replace("\\", "/"))).parts
                if each not in (".", "..", "/")
            ]
            tails = [parts[start:] for start in range(len(parts))]
            names = ["/".join((*folder, *tail)) for tail in tails for folder in (inside, ())]
            found = next((self.known[name] for name in names if name in self.known), None)
            if found is not None:
                yield found
            elif parts:
                lost.append(line.strip())
        if lost:
            text = f"{counted(len(lost), 'line')} with no picture of {self.root}: {listing(lost)}"
            self.problems.append(Problem(name, text))
