"""Replaces exceptions by new results in the lists of a notebook that contain the results of a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def put_into_lists(
    names: Mapping[str, Any],
    errors: Mapping[int, BaseException],
    found: Mapping[int, Any],
    count: int,
) -> list[str]:
    """Replace exceptions by new results in lists of a map's results.

    A list has a map's results if it is as long as the map and contains its exceptions, compared by
    identity. Other lists, such as a selection of the results, are not changed.

    Args:
        names: The notebook's namespace.
        errors: The map's exceptions, by the index of their inputs.
        found: The new results, by the index of their inputs.
        count: How many results the map had.

    Returns:
        The names of the lists.
    """
    replaced = {id(errors[index]): value for index, value in found.items() if index in errors}
    if not replaced:
        return []
    patched: dict[int, list[str]] = {}
    for name, value in _lists(names, count):
        if id(value) in patched:  # the same list under another name
            patched[id(value)].append(name)
        elif _patch(value, replaced):
            patched[id(value)] = [name]
    return [name for names_of_one in patched.values() for name in names_of_one]


def _lists(names: Mapping[str, Any], count: int) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of a length that the notebook has, with their names."""
    outputs = {f"Out[{number}]": value for number, value in dict(names.get("Out") or {}).items()}
    for name, value in [*names.items(), *outputs.items()]:
        if type(value) is list and len(value) == count and not name.startswith("_"):
            yield name, value


def _patch(results: list[Any], replaced: Mapping[int, Any]) -> bool:
    """Replace exceptions in a list by results; change nothing unless the list has all of them.

    Args:
        results: The list.
        replaced: The new result of each exception, by the exception's `id`.

    Returns:
        Whether the list was changed.
    """
    places = [place for place, item in enumerate(results) if id(item) in replaced]
    if len(places) != len(replaced):
        return False
    for place in places:
        results[place] = replaced[id(results[place])]
    return True
