"""``python -m nbfn.hub``: run the hub of one ``NBFN_HOME``. If two start at once, the lock file decides
which one runs.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import gc
import importlib.metadata
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from nbfn.config import Places, Settings
from nbfn.exception import Error, ServiceError
from nbfn.hub.broker import Broker
from nbfn.hub.callback_sender import CallbackSender
from nbfn.hub.disk_space import Disk
from nbfn.hub.gateway_process import GatewayProcess
from nbfn.hub.launchers import base
from nbfn.hub.log_store import LogStore
from nbfn.hub.scheduler.hub_state import MAX_ENDED_SPAWNS, HubState, Limits
from nbfn.hub.scheduler.state_machine import StateMachine
from nbfn.hub.shared_memory_gc import SharedMemoryGC
from nbfn.hub.store import Store
from nbfn.hub.worker_processes import WorkerProcesses
from nbfn.protocol import messages as m
from nbfn.protocol.transport import Router
from nbfn.runtime.log_rotation import LogFile
from nbfn.serialization import segment_directory
from nbfn.serialization.payload import Serializer

#: Highest epoch: leases (2**30 per epoch) must fit into signed 64-bit integers.
LAST_EPOCH = (1 << 33) - 2

#: Errors of the disk or of permissions.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})

_log = logging.getLogger("nbfn.hub")


def main() -> int:
    """Run a hub; return 0 also when another hub is already running."""
    parser = argparse.ArgumentParser(prog="python -m nbfn.hub", description=__doc__)
    parser.add_argument(
        "--embedded", action="store_true", help="end after a while without clients and work"
    )
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[LogFile(Places.of().hub_log)],
    )
    try:
        return _serve(embedded=arguments.embedded)
    except Error as error:  # one sentence that says what to do; clients show it, too
        print(error, file=sys.stderr)  # noqa: T201 - a command's answer
    except Exception as error:  # noqa: BLE001 - logged
        _log.exception("the hub ends because of an error")
        print(f"The hub failed ({type(error).__name__}: {error}).", file=sys.stderr)  # noqa: T201 - a command's answer
    return 1


def _serve(*, embedded: bool) -> int:
    places = Places.of().create()
    try:
        return _serve_in(places, embedded=embedded)
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise ServiceError(
            f"The hub cannot run in {places.home}: {error}. Free disk space there, or set NBFN_HOME to a "
            "writable directory."
        ) from None


def _serve_in(places: Places, *, embedded: bool) -> int:
    lock = os.open(places.lock_file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not embedded:
            print(f"A hub is already running for {places.home}.", file=sys.stderr)  # noqa: T201 - a command's answer
        return 0
    places.create()  # the previous hub may have removed some when it ended
    segments_lock = segment_directory.lock_directory(places.shm)
    segment_directory.remove_abandoned(places.shm)
    settings = Settings.load()
    broker, store, router, processes, web, log_store = _assemble(
        places, settings, _next_epoch(lock), embedded=embedded
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: broker.end())
    threading.excepthook = lambda args: _thread_ended(args, broker)
    try:
        broker.run()
    finally:
        with contextlib.suppress(OSError):
            places.connection_file.unlink(missing_ok=True)
        store.close()
        log_store.close()
        router.close()
        processes.close()
        web.close()
        os.close(segments_lock)
        segment_directory.remove_if_unused(places.shm)
        # The directory stays while consoles of workers have files in it.
        with contextlib.suppress(OSError):
            places.socket.unlink(missing_ok=True)
            places.runtime.rmdir()
    return 0


def _thread_ended(args: threading.ExceptHookArgs, broker: Broker) -> None:
    """End the hub when one of its threads fails; clients start it again."""
    name = args.thread.name if args.thread is not None else "a thread"
    assert args.exc_value is not None
    _log.critical("thread %s failed, so the hub ends", name, exc_info=args.exc_value)
    broker.fail(
        f"Thread {name} of the hub ended: {type(args.exc_value).__name__}: {args.exc_value}"
    )


def _restore(hub_state: HubState, store: Store) -> None:
    """Restore what the previous hub stored, except its calls."""
    registry = hub_state.registry
    registry.environments |= store.load_environments()
    for app in store.load_apps():
        registry.restore_app(app)
    for record in store.load_functions():
        registry.restore(record)
    for secret in store.load_secrets():
        hub_state.secrets[secret.environment_name, secret.name] = secret
    hub_state.started_inputs = store.load_started()
    for spawn in store.load_ended(MAX_ENDED_SPAWNS):
        hub_state.note_ended(spawn)


def _assemble(
    places: Places, settings: Settings, epoch: int, *, embedded: bool
) -> tuple[Broker, Store, Router, WorkerProcesses, GatewayProcess, LogStore]:
    disk = Disk(places.home, settings.disk_reserve * 2**20)
    disk.prepare()
    store = Store(places.database, places.blobs, settings.retention, disk)
    launcher = _launcher(places, settings)
    capacity = launcher.capacity()
    cores = capacity.cpu
    limits = Limits(
        cores=max(1, int(cores)),
        cpu=cores,
        memory=capacity.memory,
        gpus=capacity.gpus,
        max_workers=settings.max_workers or 8 * max(1, int(cores)),
        blank_workers=settings.blank_workers,
        client_grace=settings.client_grace,
        lease=settings.lease,
        kill_grace=settings.kill_grace,
        max_spawned=settings.max_spawned,
        disk_reserve=settings.disk_reserve * 2**20,
        threads=settings.worker_threads,
    )
    state = StateMachine(m.new_id, epoch=epoch, limits=limits)
    _restore(state.hub_state, store)
    router = Router(places.endpoint)
    version = importlib.metadata.version("nbfn")
    about = m.HubRow(os.getpid(), version, epoch, 0.0, str(places.home), cores)
    processes = WorkerProcesses(launcher)
    serializer = Serializer(places, "hub")
    web = GatewayProcess(places, settings.web_endpoints)
    log_store = LogStore(places.home / "logs.db", settings.log_size * 2**20, settings.retention)
    broker = Broker(
        state,
        router,
        store,
        processes,
        serializer,
        SharedMemoryGC(places.shm, places.spill),
        web,
        log_store,
        CallbackSender(_names(settings.callback_hosts)),
        about,
        settings.idle_exit if embedded else None,
    )
    broker.restore(store.load_unfinished())
    state.plan(time.time())
    _publish(places, about)
    # The current objects live as long as the hub; the cycle collector need not visit them again.
    gc.collect()
    gc.freeze()
    return broker, store, router, processes, web, log_store


def _names(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _next_epoch(lock: int) -> int:
    """Return an epoch above all earlier ones, also after a restart within a second or with a clock set back.

    Lease numbers start from it, and a worker must never receive the same lease number twice.
    """
    before = os.pread(lock, 32, 0).strip()
    last = int(before) if before.isdigit() else 0
    epoch = max(int(time.time()), last + 1 if last < LAST_EPOCH else 0)
    os.pwrite(lock, b"%d\n" % epoch, 0)
    return epoch


def _launcher(places: Places, settings: Settings) -> base.Launcher:
    (entry,) = importlib.metadata.entry_points(group="nbfn.launchers", name="local")
    launcher: base.Launcher = entry.load()(places, settings, places.endpoint)
    return launcher


def _publish(places: Places, about: m.HubRow) -> None:
    """Write the connection file atomically, readable by its owner only."""
    content = {
        "endpoint": places.endpoint,
        "pid": about.pid,
        "epoch": about.epoch,
        "protocol": m.PROTOCOL,
        "version": about.version,
    }
    temporary = Path(f"{places.connection_file}.{about.pid}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
    temporary.replace(places.connection_file)
    _log.info("nbfn hub %s for %s, pid %d", about.version, places.home, about.pid)


if __name__ == "__main__":
    sys.exit(main())
