"""Defines the value types that methods of the public API return."""

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
    """The state of an input. The numbers are Modal's; RUNNING and INTERNAL_FAILURE exist only in nbfn."""

    PENDING = 0
    """Accepted and waiting for a worker."""
    SUCCESS = 1
    """Its function returned; the payload is the return value."""
    FAILURE = 2
    """Its function raised; the payload is the exception."""
    INIT_FAILURE = 3
    """Its function could not be loaded in a worker and never ran."""
    TERMINATED = 4
    """Cancelled; it has no result."""
    TIMEOUT = 5
    """Its function ran longer than the Function's ``timeout``."""
    INTERNAL_FAILURE = 6
    """Its worker died, or was lost too often, while the input ran."""
    RUNNING = 7
    """Leased to a worker."""

    @property
    def final(self) -> bool:
        """Whether the state is final: the input has its outcome."""
        return self not in (InputStatus.PENDING, InputStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class InputInfo:
    """One input in the graph that `FunctionCall.get_call_graph` returns.

    Attributes:
        input_id: The id of the input (``in-...``).
        function_call_id: The id of its call (``fc-...``).
        task_id: The id of the worker that ran or runs it (``wk-...``); empty before the first attempt.
        status: Its state in Modal's terms: a running input is PENDING, an input whose worker died is
            a FAILURE.
        function_name: The name of the Function.
        module_name: The module that defines the Function.
        children: The inputs of calls that the code of this input made.
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
    """The counters that `Function.get_current_stats` returns.

    Attributes:
        backlog: Number of queued inputs that no worker has taken yet.
        num_total_runners: Number of live workers in the Function's pool, including idle ones.
        num_running_inputs: Number of inputs that workers have taken.
        input_headroom: Number of further inputs that could start immediately.
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
    """The place where a Function of this process is defined, as `Function.info` returns it.

    Attributes:
        raw_f: The decorated object.
        function_name: The name of the Function.
        module_name: The module of the definition.
        file: The file of the definition; in a notebook, the file name that the kernel gives the cell.
    """

    raw_f: Callable[..., Any]
    function_name: str
    module_name: str
    file: str

    @classmethod
    def of(cls, raw: Callable[..., Any], name: str) -> FunctionOrigin:
        """Return the origin of a function.

        Args:
            raw: The decorated object.
            name: The name of the Function.
        """
        code = getattr(inspect.unwrap(raw), "__code__", None)
        return cls(raw, name, str(getattr(raw, "__module__", "")), getattr(code, "co_filename", ""))


@dataclass(frozen=True, slots=True)
class FunctionAutoscalerSettings:
    """The settings in effect that `Function.update_autoscaler` returns.

    Attributes:
        min_containers: Number of workers that are kept when idle.
        max_containers: Maximum number of workers in the pool.
        buffer_containers: Number of additional idle workers while the pool is active.
        scaledown_window: Seconds that an idle worker is kept.
    """

    min_containers: int
    max_containers: int
    buffer_containers: int
    scaledown_window: float
