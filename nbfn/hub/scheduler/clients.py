"""Clients that connect, disconnect and leave, and the effect on their calls."""

from __future__ import annotations

from nbfn.hub.scheduler import back_pressure, cancellation, completion, provisioning
from nbfn.hub.scheduler.effects import DiscardClient, SaveCall
from nbfn.hub.scheduler.events import ClientJoined, ClientLost
from nbfn.hub.scheduler.hub_state import HubState
from nbfn.hub.scheduler.models import Call, Client
from nbfn.protocol import messages as m

#: Seconds that blank workers stay after the last client of their Python is gone.
BLANKS_LINGER = 60.0


def client_joined(t: HubState, event: ClientJoined) -> None:
    """Add a client, and start blank workers of its Python for its first call."""
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
    """Handle a lost connection; the client's calls are kept for a grace period."""
    client = t.clients.get(event.client)
    if client is not None and client.connected:
        client.connected = False
        t.after(t.limits.client_grace, _remove_if_gone, client)
        t.changed()


def _remove_if_gone(t: HubState, client: Client) -> None:
    if not client.connected and t.clients.get(client.id) is client:
        _remove(t, client)


def worker_gone(t: HubState, worker: str) -> None:
    """Remove the clients that ran in a worker which has ended; their calls have no consumer."""
    for client in [client for client in t.clients.values() if client.worker == worker]:
        _remove(t, client)


def _remove(t: HubState, client: Client) -> None:
    del t.clients[client.id]
    for number, (asked, asker, request) in list(t.asked_retries.items()):
        if asked == client.id:
            del t.asked_retries[number]
            text = "The process that made the map has ended, and only it had the inputs."
            t.send(asker, m.Failed(request, "not_found", text))
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
    """Return whether a call continues without its client: in a detached App, unless code of a worker made it."""
    waited_for = call.kind == "web" or (client is not None and client.worker)
    return not waited_for and t.registry.apps[call.pool.record.app_id].detached


def give_up(t: HubState, call: Call) -> None:
    """Cancel a durable call whose client is gone before it has sent all inputs."""
    call.closed = call.given_up = True
    source = (call.parent, call.method, call.origin)
    t.emit(SaveCall(call.id, *call.pool.key, call.kind, (), *source))
    cancellation.cancel(t, call)
    completion.end_if_done(t, call)


def call_released(t: HubState, sender: str, message: m.Release) -> None:
    """Handle a client, or a watcher, that no longer needs a call."""
    call = t.calls.get(message.call)
    if call is not None:
        call.watchers.discard(sender)
        if call.client == sender:
            _release(t, call, t.clients.get(sender))


def _release(t: HubState, call: Call, client: Client | None) -> None:
    if call.durable:
        return
    call.released = True
    back_pressure.forget(t, call)  # its results have no consumer
    goes_on = _detached(t, call, client)
    call.closed = call.closed or goes_on  # with the inputs that have arrived
    if call.ended:
        completion.end_if_done(t, call)
    elif not goes_on:
        cancellation.cancel(t, call)
