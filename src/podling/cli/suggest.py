"""What was perhaps meant by an unknown command."""

from __future__ import annotations

_MOST = 2    # cobra's greatest edit distance


def suggestions(word: str, names: list[str]) -> list[str]:
    """The names that begin with the word or differ from it in at most two letters, ignoring case."""
    typed = word.lower()
    return [name for name in names if name.lower().startswith(typed) or edit_distance(typed, name.lower()) <= _MOST]


def edit_distance(left: str, right: str) -> int:
    """Levenshtein's distance: how many letters must be put in, left out or changed."""
    row = list(range(len(right) + 1))
    for index, letter in enumerate(left, 1):
        before, row[0] = row[0], index
        for column, other in enumerate(right, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (letter != other))
    return row[-1]
