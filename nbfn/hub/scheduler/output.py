"""Sends the output of workers to clients and to the logs.

Output of an input goes to the clients that are subscribed to its call. Output outside of inputs, for example of
enter hooks, goes to the calls that wait while the worker loads, otherwise to the first call that it runs.
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
    """Route output of a worker to clients and logs."""
    worker = t.workers.get(sender)
    if worker is not None:
        worker.last_output = max(worker.last_output, message.number)
        _wrote(t, worker, message.lease, message.channel, message.data)


def recovered(t: HubState, worker: Worker, event: WorkerExited) -> None:
    """Route output of a worker that ended, which its process had not sent."""
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
    if plain == channel:  # otherwise it is already logged for the nested call
        input_logs.wrote(t, item, worker.id, channel, data)
    for client, whose in audience(t, item):
        _show(t, client, whose, plain, data, worker)


def show_startup(t: HubState, worker: Worker) -> None:
    """Send the output of a loading worker to all calls that wait in its pool."""
    if worker.startup is not None and worker.pool is not None:
        for item in waiting(worker.pool):
            _show_new(t, worker, worker.startup, item)


def show_loading(t: HubState, pool: Pool) -> None:
    """Send the output of loading workers to calls that arrived since."""
    for worker in pool.binding.values():
        show_startup(t, worker)


def served(t: HubState, worker: Worker, item: Input) -> None:
    """Send the output of a worker outside of inputs to the call that it now runs, and to no other."""
    if worker.startup is not None:
        _show_new(t, worker, worker.startup, item)
        worker.startup = None


def _show_new(t: HubState, worker: Worker, startup: StartupOutput, item: Input) -> None:
    for channel, data in startup.new_for(item.call.id):
        _show_beside(t, item, channel, data, worker)


def announce(t: HubState, pool: Pool, text: str, worker: Worker) -> None:
    """Log a line about a worker that ended, and send it, after the worker's output, to the waiting calls."""
    input_logs.system(t, pool, text, worker=worker.id)
    show_startup(t, worker)
    for item in waiting(pool):
        _show_beside(t, item, "stderr", f"{text}\n".encode(), worker)


def _show_beside(t: HubState, item: Input, channel: str, data: bytes, worker: Worker) -> None:
    """Send output outside of inputs to the clients of a call, except followers of its App, which got it already."""
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
