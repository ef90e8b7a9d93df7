"""Small value types that the public API returns."""

from __future__ import annotations

import enum
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nbfn.exception import DeprecationError

#: A method of every Function that does nothing; calling it checks that a worker can load the Function.
LOAD_METHOD = "<load>"


class InputStatus(enum.IntEnum):
    """Where one input stands (the numbers are Modal's; RUNNING and INTERNAL_FAILURE are ours)."""

    PENDING = 0
    """Accepted and waiting for a worker."""
    SUCCESS = 1
    """Its function returned; the payload is the return value."""
    FAILURE = 2
    """Its function raised; the payload is the exception."""
    INIT_FAILURE = 3
    """Its function could not be loaded in a worker, so the body never ran."""
    TERMINATED = 4
    """Cancelled; no result will come."""
    TIMEOUT = 5
    """Its function ran longer than the Function's ``timeout``."""
    INTERNAL_FAILURE = 6
    """Its worker died under it, or was lost too often."""
    RUNNING = 7
    """Leased to a worker."""

    @property
    def final(self) -> bool:
        """Whether the input has its one outcome."""
        return self not in (InputStatus.PENDING, InputStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class InputInfo:
    """One input in what `FunctionCall.get_call_graph` returns.

    Attributes:
        input_id: Its id (``in-...``).
        function_call_id: Its call's id (``fc-...``).
        task_id: The worker that ran or runs it (``wk-...``), empty while there was none.
        status: Where it stands, in Modal's terms: one that runs is PENDING, one whose worker died
            is a FAILURE.
        function_name: The Function's name.
        module_name: The module it was defined in.
        children: The inputs that its code called.
    """

    __module__ = "nbfn"

    input_id: str
    function_call_id: str
    task_id: str
    status: InputStatus
    function_name: str
    module_name: str
    children: list[InputInfo] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FunctionStats:
    """What `Function.get_current_stats` returns.

    Attributes:
        backlog: Inputs queued and not yet taken by a worker.
        num_total_runners: Live workers of the Function's pool, warm ones included.
        num_running_inputs: Inputs that workers have taken.
        input_headroom: How many more inputs could start at once.
    """

    backlog: int
    num_total_runners: int
    num_running_inputs: int = 0
    input_headroom: int = 0

    @property
    def num_active_runners(self) -> int:
        """The former name of `num_total_runners`."""
        warnings.warn(
            "FunctionStats.num_active_runners is now num_total_runners.",
            DeprecationError,
            stacklevel=2,
        )
        return self.num_total_runners


@dataclass(frozen=True, slots=True)
class FunctionOrigin:
    """What `Function.info` returns: where a Function of this process is defined.

    Attributes:
        raw_f: The object that was decorated.
        function_name: The Function's name.
        module_name: The module of the definition.
        file: The file of the definition, or what stands for one in a notebook.
    """

    raw_f: Callable[..., Any]
    function_name: str
    module_name: str
    file: str

    @classmethod
    def of(cls, raw: Callable[..., Any], name: str) -> FunctionOrigin:
        """Look at a function."""
        code = getattr(inspect.unwrap(raw), "__code__", None)
        return cls(raw, name, str(getattr(raw, "__module__", "")), getattr(code, "co_filename", ""))


@dataclass(frozen=True, slots=True)
class FunctionAutoscalerSettings:
    """What `Function.update_autoscaler` returns: the settings now in force.

    Attributes:
        min_containers: Workers kept when idle.
        max_containers: Most workers the pool may have.
        buffer_containers: Extra idle workers while the pool is active.
        scaledown_window: Seconds an idle worker is kept.
    """

    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: float
