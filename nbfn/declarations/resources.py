"""Checks the resources that a worker of a Function requests: ``cpu``, ``memory`` and ``gpu``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nbfn.declarations.retries import LARGEST_COUNT, check_at_most, is_int, is_number
from nbfn.exception import InvalidError
from nbfn.runtime.byte_size import MIB

#: The most cores, and the most MiB, that a worker can request.
MOST_CORES, MOST_MEBIBYTES = 100_000, 1024**3


@dataclass(frozen=True, slots=True)
class Resources:
    """The requested resources of a worker and their limits; None for no request.

    Attributes:
        cpu, cpu_limit: Processors in cores.
        memory, memory_limit: Memory in bytes.
        gpu: The type of GPU; "any" for any type, several types separated by "|".
        gpus: The number of GPUs.
    """

    cpu: float | None = None
    cpu_limit: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    gpu: str | None = None
    gpus: int | None = None

    @classmethod
    def read(cls, cpu: Any = None, memory: Any = None, gpu: Any = None) -> Resources:
        """Check the options ``cpu``, ``memory`` and ``gpu``.

        Args:
            cpu: A number of cores, or (request, limit).
            memory: A number of MiB, or (request, limit).
            gpu: A type such as ``"A100"``, ``"H100:2"`` or ``"any"``, or a list of types in order of preference.

        Raises:
            InvalidError: If an option is not valid.
        """
        cores, cores_limit = _pair("cpu", cpu, is_number, "cores", MOST_CORES)
        mebibytes, limit = _pair("memory", memory, is_int, "MiB", MOST_MEBIBYTES)
        kind, count = _gpu(gpu)
        return cls(
            None if cores is None else float(cores),
            None if cores_limit is None else float(cores_limit),
            None if mebibytes is None else int(mebibytes) * MIB,
            None if limit is None else int(limit) * MIB,
            kind,
            count,
        )

    def unenforced(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each option that nbfn does not fully enforce, with a sentence for a warning."""
        if self.cpu_limit is not None:
            yield (
                "cpu",
                "The limit of 'cpu' is not enforced by nbfn; the request is what is set aside.",
            )
        if self.gpu not in {None, "any"}:
            yield (
                "gpu",
                f"nbfn counts GPUs and does not look at their kind: {self.gpu!r} is any GPU.",
            )


def _pair(name: str, value: Any, fits: Any, unit: str, most: int) -> tuple[Any, Any]:
    """Return the request and the limit. As in Modal, a single number is a request without a limit."""
    if value is None:
        return None, None
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or not all(fits(part) and part > 0 for part in pair):
        whole = "whole " if fits is is_int else ""
        raise InvalidError(
            f"{name} is {value!r}; it must be a {whole}number of {unit}, or (request, limit) of such."
        )
    if pair[1] < pair[0]:
        raise InvalidError(f"{name} is {value!r}; its limit is below its request.")
    check_at_most(name, pair[1], most)
    return pair[0], (pair[1] if pair is value else None)


def _gpu(value: Any) -> tuple[str | None, int | None]:
    if value is None:
        return None, None
    choices = value if isinstance(value, list | tuple) else [value]
    if not choices:
        raise InvalidError("gpu is an empty list; name a kind, such as 'A100' or 'any'.")
    kinds, counts = [], []
    for choice in choices:
        found = re.fullmatch(r"([A-Za-z][\w.+-]*)(?::(\d+))?", str(choice))
        if not isinstance(choice, str) or found is None or found[2] == "0":
            raise InvalidError(f"gpu is {value!r}; it must be like 'any:2', 'A100' or 'H100:2'.")
        kinds.append(found[1])
        check_at_most("The number of GPUs", int(found[2] or 1), LARGEST_COUNT)
        counts.append(int(found[2] or 1))
    return "|".join(kinds), counts[0]
