"""`Varying`: handles that have variants, the same code with other options and workers of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from nbfn.client.registration.option_encoding import variant_of
from nbfn.declarations.options import Concurrency, Options
from nbfn.declarations.partial_function import read_batching, read_concurrency
from nbfn.declarations.retries import Retries
from nbfn.exception import InvalidError
from nbfn.protocol.messages import Variant
from nbfn.runtime.traceback_filter import trimmed

#: Options that a variant can have; others are its Function's own.
_VARIED = frozenset({
    "timeout", "retries", "max_containers", "buffer_containers", "scaledown_window", "resources",
    "env", "secrets", "concurrency",
})  # fmt: skip
#: Options whose values are nobody's business.
_HIDDEN = frozenset({"env", "secrets"})


class Varying:
    """Base of the handles that have variants: Function and Cls."""

    def _varied(self, changes: Variant, shown: str) -> Self:
        """Return a handle of the variant."""
        raise NotImplementedError

    @trimmed
    def with_options(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: str | Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        secrets: Sequence[Any] | None = None,
        volumes: Mapping[str, Any] | None = None,
        retries: int | Retries | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
        timeout: float | None = None,
        region: Any = None,
        cloud: str | None = None,
        routing_region: str | None = None,
        **older: Any,
    ) -> Self:
        """Return the same code with other options, run by workers of its own; this one is untouched.

        What is not given stays; what is given takes the place of what was said before. Variants
        with the same options share their workers.

        Args:
            cpu, memory, gpu, env, secrets, retries, max_containers: As of ``@app.function()``.
            buffer_containers, scaledown_window, timeout: As of ``@app.function()``.
            volumes, region, cloud, routing_region: Accepted for Modal programs.
            **older: Older names of these.

        Raises:
            InvalidError: If an option does not fit, or is none that a variant can have.
        """
        given = {
            "cpu": cpu,
            "memory": memory,
            "gpu": gpu,
            "env": env or None,
            "secrets": secrets or None,
            "volumes": volumes,
            "retries": retries,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
            "region": region,
            "cloud": cloud,
            "routing_region": routing_region,
            **({} if timeout is None else {"timeout": timeout}),
            **older,
        }
        changes = Options.changes(given)
        if refused := sorted(changes.keys() - _VARIED):
            raise InvalidError(_refused(refused[0]))
        shown = ", ".join(
            f"{name}={'…' if name in _HIDDEN else repr(value)}"
            for name, value in given.items()
            if value is not None
        )
        return self._varied(variant_of(changes), f".with_options({shown})")

    @trimmed
    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Self:
        """Return the same code, each worker of which runs several inputs at once; this one is untouched.

        Args:
            max_inputs: Inputs that a worker runs at once, at most.
            target_inputs: Inputs for each worker that the size of the pool aims at.

        Raises:
            InvalidError: If a number does not fit.
        """
        read = read_concurrency(max_inputs, target_inputs)
        # Both are said, so that neither is left over from before.
        both = Concurrency(read.max_inputs, read.target_inputs or read.max_inputs)
        said = f"max_inputs={max_inputs}" + (
            f", target_inputs={target_inputs}" * bool(target_inputs)
        )
        return self._varied(variant_of({"concurrency": both}), f".with_concurrency({said})")

    @trimmed
    def with_batching(self, *, max_batch_size: int, wait_ms: float) -> Self:
        """Return the same code with its inputs gathered and run as one, as by ``@batched``; this one is untouched.

        Args:
            max_batch_size: Inputs in one batch, 1 to 1000.
            wait_ms: Milliseconds that a batch waits to be full, 0 to 600000.

        Raises:
            InvalidError: If a number does not fit, or the code cannot be run on batches.
        """
        batching = read_batching(max_batch_size, wait_ms)
        shown = f".with_batching(max_batch_size={max_batch_size}, wait_ms={wait_ms})"
        return self._varied(variant_of({"batching": batching}), shown)


def _refused(name: str) -> str:
    if name == "min_containers":
        return (
            "with_options(...) has no min_containers: a variant has those of its Function. "
            "Call keep_warm(...) on the variant to change that."
        )
    return f"with_options(...) has no {name!r}; it belongs on the decorator."
