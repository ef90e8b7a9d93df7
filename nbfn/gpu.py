"""`modal.gpu`, of older versions of Modal: ``gpu.A100(count=2, size="80GB")`` is "A100-80GB:2"."""

from __future__ import annotations

from collections.abc import Callable


def _kind(name: str) -> Callable[..., str]:
    def request(*, count: int = 1, size: str | None = None) -> str:
        return f"{name}{f'-{size}' if size else ''}{f':{count}' if count > 1 else ''}"

    request.__name__ = request.__qualname__ = name
    request.__doc__ = f"Return how the option ``gpu`` names {name} GPUs."
    return request


T4, L4, A10G, L40S = _kind("T4"), _kind("L4"), _kind("A10G"), _kind("L40S")
A100, H100, H200, B200 = _kind("A100"), _kind("H100"), _kind("H200"), _kind("B200")
Any = _kind("any")
