"""What workers write: who is shown it, and what goes into the logs.

What an input wrote goes to the clients that listen to its call. What a worker writes outside of any input, in
enter hooks say, goes to the calls that wait while it loads, and otherwise to the first call that it serves.
"""

from __future__ import annotations

from collections.abc import Iterator

from nbfn.hub.scheduler import input_logs
from nbfn.hub.scheduler.events import WorkerExited
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Input, Pool, Worker
from nbfn.hub.scheduler.output_audience import audience
from nbfn.hub.scheduler.startup_output import StartupOutput
from nbfn.protocol import messages as m
from nbfn.runtime.output_channels import FAILURE, NESTED


def emission_arrived(t: HubState, sender: str, message: m.Emitted) -> None:
    """Pass on what a worker's code wrote, to whoever listens."""
    worker = t.workers.get(sender)
    if worker is not None:
        worker.last_output = max(worker.last_output, message.number)
        _wrote(t, worker, message.lease, message.channel, message.data)


def recovered(t: HubState, worker: Worker, event: WorkerExited) -> None:
    """Pass on what a worker that ended had written and its process could not send any more."""
    for number, lease, channel, data in event.output:
        if number > worker.last_output:
            _wrote(t, worker, lease, channel, data)


def _wrote(t: HubState, worker: Worker, lease: int, channel: str, data: bytes) -> None:
    item = worker.leases.get(lease)
    if item is not None:
        _input_wrote(t, worker, item, channel, data)
    elif not lease and worker.pool is not None:
        channel = channel.removeprefix(NESTED)
        input_logs.worker_wrote(t, worker.pool, worker.id, channel, data)
        worker.startup = worker.startup or StartupOutput()
        worker.startup.add(channel, data)
        if worker.leases:
            served(t, worker, next(iter(worker.leases.values())))
        elif not worker.loaded:
            show_startup(t, worker)


def _input_wrote(t: HubState, worker: Worker, item: Input, channel: str, data: bytes) -> None:
    if channel == FAILURE:
        input_logs.failed(t, item, worker.id, data)
        return
    plain = channel.removeprefix(NESTED)
    if plain == channel:  # else it is in the logs as that of the call that wrote it
        input_logs.wrote(t, item, worker.id, channel, data)
    for client, whose in audience(t, item):
        _show(t, client, whose, plain, data, worker)


def show_startup(t: HubState, worker: Worker) -> None:
    """Show what a worker wrote so far to all calls that wait for one of its pool."""
    if worker.startup is not None and worker.pool is not None:
        for item in waiting(worker.pool):
            _show_new(t, worker, worker.startup, item)


def show_loading(t: HubState, pool: Pool) -> None:
    """Show what a pool's workers wrote that are loading now to calls that have come since."""
    for worker in pool.binding.values():
        show_startup(t, worker)


def served(t: HubState, worker: Worker, item: Input) -> None:
    """Show what a worker wrote outside of any input to the call that it now serves, and to nobody else."""
    if worker.startup is not None:
        _show_new(t, worker, worker.startup, item)
        worker.startup = None


def _show_new(t: HubState, worker: Worker, startup: StartupOutput, item: Input) -> None:
    for channel, data in startup.new_for(item.call.id):
        _show_beside(t, item, channel, data, worker)


def announce(t: HubState, pool: Pool, text: str, worker: Worker) -> None:
    """Log a sentence about a worker of a pool that is gone, and show it to the calls that wait, after what it wrote."""
    input_logs.system(t, pool, text, worker=worker.id)
    show_startup(t, worker)
    for item in waiting(pool):
        _show_beside(t, item, "stderr", f"{text}\n".encode(), worker)


def _show_beside(t: HubState, item: Input, channel: str, data: bytes, worker: Worker) -> None:
    """Show what is no input's own to a call, but not to those who follow its App and were sent it with the logs."""
    app = t.registry.apps.get(item.call.pool.record.app_id)
    for client, whose in audience(t, item):
        if app is None or client not in app.followers:
            _show(t, client, whose, channel, data, worker)


def _show(t: HubState, client: str, item: Input, channel: str, data: bytes, worker: Worker) -> None:
    about = (item.call.id, item.index, max(item.attempt, 1))
    t.send(client, m.Emission(*about, channel, data, worker.id))


def waiting(pool: Pool) -> Iterator[Input]:
    """Yield the first input of each call that has inputs waiting in a pool."""
    seen = set()
    for pending in (pool.pending, *pool.batches.values()):
        for call in pending.calls:
            seen.add(call.id)
            yield call.queue[0]
    for item in pool.solo:
        if item.call.id not in seen:
            seen.add(item.call.id)
            yield item
