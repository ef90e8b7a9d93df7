"""Builds the rows of the overview: those of the state machine, with the URLs of endpoints and the hub's own row."""

from __future__ import annotations

import platform
from typing import Any

from msgspec.structs import replace

from nbfn.hub.gateway_process import GatewayProcess
from nbfn.hub.scheduler import admission, status
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Worker
from nbfn.hub.scheduler.registry import FunctionRecord
from nbfn.protocol import messages as m


class OverviewRows:
    """Builds rows.

    Args:
        hub_state: The state of the state machine; it is only read.
        web: The gateway process, which has the URLs of endpoints.
        about: The hub's row; its times and its use of resources are filled in.
        started: When the hub started, on its clock.
    """

    def __init__(
        self, hub_state: HubState, web: GatewayProcess, about: m.HubRow, started: float
    ) -> None:
        self._hub_state = hub_state
        self._web = web
        self._started = started
        limits = hub_state.limits
        self._about = replace(
            about,
            host=platform.node(),
            started=hub_state.wall_of(started),
            memory=limits.memory,
            gpus=len(limits.gpus),
        )

    def hub(self) -> m.HubRow:
        """Return the row of the hub."""
        needs = [
            worker.pool.definition.resources
            for worker in admission.holders(self._hub_state)
            if worker.pool is not None
        ]
        return replace(
            self._about,
            cpus_used=sum(need.cpu or 0.0 for need in needs),
            memory_used=sum(need.memory or 0 for need in needs),
            gpus_used=sum(need.gpus or 0 for need in needs),
        )

    def uptime(self) -> float:
        """Return for how many seconds the hub has run."""
        return round(self._hub_state.now - self._started, 1)

    def function(self, record: FunctionRecord, running: int) -> m.FunctionRow:
        """Return the row of a Function, of which this many inputs run."""
        row: dict[str, Any] = status.function_row(self._hub_state, record, running)
        label = row.pop("label")
        return m.FunctionRow(**row, web_url=self._web.url(label) if label else None)

    def call(self, call: Call, running: int) -> m.CallRow:
        """Return the row of a call that has not ended, of which this many inputs run."""
        return m.CallRow(**status.call_row(self._hub_state, call, running))

    def ended_call(self, call: Call, ended: float) -> m.CallRow:
        """Return the row of a call that ended at this time."""
        return m.CallRow(**status.ended_call_row(self._hub_state, call, ended))

    def worker(self, worker: Worker, memory: int | None) -> m.WorkerRow:
        """Return the row of a worker that occupies so many bytes of memory."""
        return m.WorkerRow(**status.worker_row(self._hub_state, worker), memory=memory)
