"""Clients that come and go, and what becomes of their calls."""

from __future__ import annotations

from nbfn.hub.scheduler import back_pressure, cancellation, completion, provisioning
from nbfn.hub.scheduler.effects import DiscardClient, SaveCall
from nbfn.hub.scheduler.events import ClientJoined, ClientLost
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Client
from nbfn.protocol import messages as m

#: Seconds unused blank workers stay after the last client of their Python left.
BLANKS_LINGER = 60.0


def client_joined(t: HubState, event: ClientJoined) -> None:
    """A client is here: ready its Python, so that its first call finds a worker."""
    client = t.clients.get(event.client)
    if client is None:
        client = t.clients[event.client] = Client(
            event.client, event.name, event.executable, event.worker, event.origin
        )
    client.connected = True
    if event.executable:
        t.blanks.setdefault(event.executable, {})
        t.supply_due = True
    t.changed()


def client_lost(t: HubState, event: ClientLost) -> None:
    """A client's connection ended; its calls wait for it a while."""
    client = t.clients.get(event.client)
    if client is not None and client.connected:
        client.connected = False
        t.after(t.limits.client_grace, _remove_if_gone, client)
        t.changed()


def _remove_if_gone(t: HubState, client: Client) -> None:
    if not client.connected and t.clients.get(client.id) is client:
        _remove(t, client)


def worker_gone(t: HubState, worker: str) -> None:
    """A worker process ended: what its code waited for, nobody waits for any more."""
    for client in [client for client in t.clients.values() if client.worker == worker]:
        _remove(t, client)


def _remove(t: HubState, client: Client) -> None:
    del t.clients[client.id]
    for call_id in list(client.calls):
        call = t.calls.get(call_id)
        if call is None:
            continue
        if call.durable and not call.closed:
            give_up(t, call)
        else:
            _release(t, call, client)
    t.emit(DiscardClient(client.id))
    if client.executable:
        t.after(BLANKS_LINGER, provisioning.release_blanks, client.executable)
    t.changed()


def _detached(t: HubState, call: Call, client: Client | None) -> bool:
    """Return whether a call goes on without its caller: of a detached App, and not of a worker's code."""
    waited_for = call.kind == "web" or (client is not None and client.worker)
    return not waited_for and t.registry.apps[call.pool.record.app_id].detached


def give_up(t: HubState, call: Call) -> None:
    """End a durable call whose client is gone before it has told all inputs: it is cancelled."""
    call.closed = call.given_up = True
    words = (call.parent, call.method, call.origin)
    t.emit(SaveCall(call.id, *call.pool.key, call.kind, (), *words))
    cancellation.cancel(t, call)
    completion.end_if_done(t, call)


def call_released(t: HubState, sender: str, message: m.Release) -> None:
    """The caller, or one who looked on, is done with a call."""
    call = t.calls.get(message.call)
    if call is not None:
        call.watchers.discard(sender)
        if call.client == sender:
            _release(t, call, t.clients.get(sender))


def _release(t: HubState, call: Call, client: Client | None) -> None:
    if call.durable:
        return
    call.released = True
    back_pressure.forget(t, call)  # nobody takes its results any more
    goes_on = _detached(t, call, client)
    call.closed = call.closed or goes_on  # with the inputs that are here
    if call.ended:
        completion.end_if_done(t, call)
    elif not goes_on:
        cancellation.cancel(t, call)
