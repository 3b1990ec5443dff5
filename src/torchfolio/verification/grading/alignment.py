"""The longest common subsequence of two sequences, the earliest of several."""

from collections.abc import Hashable, Sequence


def aligned(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the places of the longest sequence that both have in this order.

    What both begin and end with is taken as it is, so that little is left to search: networks that
    are laid side by side differ in few places.
    """
    first = 0
    while first < min(len(one), len(other)) and one[first] == other[first]:
        first += 1
    last = 0
    while last < min(len(one), len(other)) - first and one[-1 - last] == other[-1 - last]:
        last += 1
    middle = search(one[first : len(one) - last], other[first : len(other) - last])
    return [
        *((place, place) for place in range(first)),
        *((first + a, first + b) for a, b in middle),
        *((len(one) - back, len(other) - back) for back in range(last, 0, -1)),
    ]


def search(one: Sequence[Hashable], other: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return the places of the longest common subsequence, by dynamic programming."""
    # longest[a][b]: how many are common from a and b on
    longest = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for a in range(len(one) - 1, -1, -1):
        row, below = longest[a], longest[a + 1]
        for b in range(len(other) - 1, -1, -1):
            row[b] = below[b + 1] + 1 if one[a] == other[b] else max(below[b], row[b + 1])
    found = []
    a = b = 0
    while a < len(one) and b < len(other):
        if one[a] == other[b]:
            found.append((a, b))
            a, b = a + 1, b + 1
        elif longest[a + 1][b] >= longest[a][b + 1]:
            a += 1
        else:
            b += 1
    return found
