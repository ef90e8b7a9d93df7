"""Where the results of a map are in the notebook: the lists that hold its exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def put_into_lists(
    names: Mapping[str, Any],
    errors: Mapping[int, BaseException],
    found: Mapping[int, Any],
    count: int,
) -> list[str]:
    """Put new results into the lists of a map's results, in the place of the exceptions that stood there.

    A list is one of them if it is as long as the map and holds the very exceptions that the map
    handed out; a list of other things, or a selection of the results, is left alone.

    Args:
        names: The notebook's names.
        errors: The exceptions as the map handed them out, by the index of their inputs.
        found: The new results, likewise.
        count: How many results the map had.

    Returns:
        The names of the lists.
    """
    replaced = {id(errors[index]): value for index, value in found.items() if index in errors}
    if not replaced:
        return []
    done: dict[int, list[str]] = {}
    shown = {f"Out[{number}]": value for number, value in dict(names.get("Out") or {}).items()}
    for name, value in [*names.items(), *shown.items()]:
        if type(value) is not list or len(value) != count or name.startswith("_"):
            continue
        if id(value) not in done:
            places = [place for place, item in enumerate(value) if id(item) in replaced]
            if len(places) != len(replaced):
                continue
            for place in places:
                value[place] = replaced[id(value[place])]
            done[id(value)] = []
        done[id(value)].append(name)
    return [name for names_of_one in done.values() for name in names_of_one]
