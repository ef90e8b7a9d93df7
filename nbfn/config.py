"""Reads the settings of nbfn, and names the files and directories of a hub.

A setting comes from its ``NBFN_*`` environment variable, else from ``nbfn.toml`` in the home directory, else it has
its default.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import sys
import tempfile
import tomllib
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nbfn._names import normalize
from nbfn.exception import InvalidError

#: The most bytes of the path of the directory for sockets. The path of a socket has at most 107 bytes, on macOS 103.
LONGEST_RUNTIME = 80
#: Whether a process that has loaded system libraries can fork without an exec; it cannot on macOS.
FORK_IS_SAFE: bool = sys.platform == "linux"
#: The ways to start workers. "forkserver" requires a safe fork.
LAUNCHERS = FORKSERVER, SUBPROCESS = "forkserver", "subprocess"


def _setting(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


#: The values that a setting of each type may have, for error messages.
_ALLOWED = {
    bool: "true or false (also 1, 0, yes, no, on, off)",
    int: "a whole number",
    float: "a number",
    str: "text",
}
#: Words for true and false that `msgspec` does not know.
_WORDS = {"yes": True, "on": True, "no": False, "off": False}


@dataclass(frozen=True)
class Settings:
    """All settings of nbfn, with their defaults.

    Examples:
        >>> Settings(connect_timeout=5.0).connect_timeout
        5.0
    """

    connect_timeout: float = _setting(30.0, "Seconds to wait for a hub before giving up.")
    idle_exit: float = _setting(900.0, "Seconds an embedded hub with nothing to do stays.")
    client_grace: float = _setting(
        30.0, "Seconds a lost client's calls are kept before they are cancelled."
    )
    hub_grace: float = _setting(10.0, "Seconds workers wait for a lost hub before they exit.")
    lease: float = _setting(
        10.0, "Seconds a silent worker keeps its inputs before they are given away."
    )
    kill_grace: float = _setting(
        5.0, "Seconds between asking an input to stop and killing its worker."
    )
    blank_workers: int = _setting(
        2, "Workers kept ready for any function, per Python environment in use."
    )
    max_spawned: int = _setting(
        1_000_000, "Most inputs of spawned calls that wait or run; further ones are refused."
    )
    disk_reserve: int = _setting(
        64,
        "MiB of its disk that the hub keeps for what it has accepted; spawning is refused below.",
    )
    max_workers: int = _setting(0, "Most workers on this machine; 0 means eight for each core.")
    launcher: Literal["", "forkserver", "subprocess"] = _setting(
        "",
        "How workers are started: 'forkserver' (fast, on Linux only) or 'subprocess' (each as a Python of its own); "
        "empty means forkserver on Linux, subprocess elsewhere.",
    )
    worker_threads: int = _setting(
        0,
        "Threads of numeric libraries (BLAS, OpenMP and the like) in each worker; 0 means its share of the cores.",
    )
    environment: str = _setting(
        "", "The environment that Apps are deployed, run and looked up in; empty means main."
    )
    retention: float = _setting(7 * 86400.0, "Seconds the results of spawned calls are kept.")
    web_hosts: str = _setting(
        "",
        "Names, by commas, under which web endpoints may be asked for besides this machine's own.",
    )
    web_endpoints: int = _setting(
        200,
        "Most web endpoints that listen at a time: each has a port, and a descriptor of the hub.",
    )
    web_max_body: int = _setting(100 * 2**20, "Most bytes of the body of a web request.")
    web_patience: float = _setting(
        30.0, "Seconds a web client may take over its headers, or pause within a body."
    )
    web_redirect: float = _setting(
        150.0, "Seconds a web request waits for its answer until it is redirected to wait on."
    )
    callback_hosts: str = _setting(
        "", "Host names, by commas, that callback_url may name; empty allows every host."
    )
    notify: bool = _setting(
        False, "Whether JupyterLab shows a notification when a call that took over a minute ends."
    )
    log_size: int = _setting(256, "MiB of what inputs wrote that are kept; the oldest go.")
    progress: bool = _setting(True, "Whether a map shows its progress.")
    interrupt: Literal["cancel", "detach"] = _setting(
        "cancel",
        "What an interrupt of a notebook's cell does with the call it waits for: 'cancel' (a second interrupt within "
        "a second detaches it) or 'detach' (the call goes on).",
    )
    async_warnings: bool = _setting(
        True, "Whether a blocking call warns when it holds up an event loop."
    )

    @property
    def worker_launcher(self) -> str:
        """The way to start workers on this system, one of `LAUNCHERS`.

        Raises:
            InvalidError: If this system does not support the configured launcher.
        """
        if not FORK_IS_SAFE:
            if self.launcher == FORKSERVER:
                raise InvalidError(
                    f"Setting 'launcher' is {FORKSERVER!r}, which needs Linux. Set it to {SUBPROCESS!r}, or remove it."
                )
            return SUBPROCESS
        return self.launcher or FORKSERVER

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """Read the settings from the environment and from ``nbfn.toml``.

        Args:
            **given: Values that take precedence over the environment and the file.

        Returns:
            The settings.

        Raises:
            InvalidError: If a setting is unknown, a value is not valid, or the file is not valid TOML.
        """
        kinds = _kinds()
        values: dict[str, Any] = {}
        for where, name, value in (*_from_file(home() / "nbfn.toml"), *_from_environment(kinds)):
            if name not in kinds:
                known = ", ".join(sorted(kinds))
                raise InvalidError(f"Unknown setting {name!r} in {where}. Known settings: {known}.")
            try:
                values[name] = _converted(value, kinds[name])
            except ValueError:
                raise InvalidError(
                    f"Setting {name!r} in {where} is {value!r}; it must be {_allowed(kinds[name])}."
                ) from None
        return cls(**(values | given))


@functools.cache
def _kinds() -> dict[str, Any]:
    return typing.get_type_hints(Settings)


def _allowed(kind: Any) -> str:
    """Return a description of the values that a setting of a type may have."""
    if typing.get_origin(kind) is Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(kind) if choice)
    return _ALLOWED[kind]


def _converted(value: Any, kind: Any) -> Any:
    """Convert a value of the file or the environment to the type of its setting."""
    import msgspec  # imported here, because `import nbfn` reads no settings

    if isinstance(value, str):
        value = value.strip()
        if kind is bool:
            value = _WORDS.get(value.lower(), value)
    return msgspec.convert(value, kind, strict=False)


def default_environment() -> str:
    """Return the name of the default environment: nbfn's setting, else ``MODAL_ENVIRONMENT``."""
    return normalize(Settings.load().environment or os.environ.get("MODAL_ENVIRONMENT", ""))


def _from_file(path: Path) -> list[tuple[str, str, Any]]:
    if not path.is_file():
        return []
    try:
        return [
            (str(path), name, value)
            for name, value in tomllib.loads(path.read_text("utf-8")).items()
        ]
    except tomllib.TOMLDecodeError as error:
        raise InvalidError(f"{path} is not valid TOML: {error}.") from None


def _from_environment(kinds: Iterable[str]) -> list[tuple[str, str, Any]]:
    named = ((name, f"NBFN_{name.upper()}") for name in kinds)
    return [
        (variable, name, os.environ[variable]) for name, variable in named if variable in os.environ
    ]


# --- places --------------------------------------------------------------------------------------


def home() -> Path:
    """Return the directory of the database, connection file, logs and stored payloads of one hub.

    It is ``NBFN_HOME``, or the user's data directory for nbfn.
    """
    if given := os.environ.get("NBFN_HOME"):
        return Path(given).expanduser().absolute()
    import platformdirs  # only needed without NBFN_HOME

    return Path(platformdirs.user_data_dir("nbfn", appauthor=False))


@dataclass(frozen=True)
class Places:
    """The files and directories of one hub. All directories have mode 0700, which `create` checks.

    Segments of large values are in shared memory if it is a file system, as on Linux. On other systems they are
    files in the temporary directory, which the system caches in memory.

    Attributes:
        home: Directory of the files that outlive the hub.
        runtime: Directory of the socket.
        shm: Directory of the segments of large values.
    """

    home: Path
    runtime: Path
    shm: Path

    @classmethod
    def of(cls, base: Path | None = None) -> Places:
        """Return the paths that belong to a home directory, without accessing it.

        Args:
            base: The home directory; by default `home`.
        """
        base = base or home()
        short = hashlib.sha256(str(base).encode()).hexdigest()[:8]
        given = os.environ.get("XDG_RUNTIME_DIR")
        memory = Path("/dev/shm")  # noqa: S108 - `create` checks owner, mode and that it is no link
        temporary = Path(tempfile.gettempdir())
        mine = f"nbfn-{os.getuid()}-{short}"
        runtime = Path(given) / "nbfn" / short if given else temporary / mine
        if len(os.fsencode(runtime)) > LONGEST_RUNTIME:
            runtime = Path("/tmp") / mine  # noqa: S108 - `create` checks it too
        return cls(
            home=base,
            runtime=runtime,
            shm=memory / mine if memory.is_dir() else temporary / f"nbfn-{os.getuid()}-shm-{short}",
        )

    def create(self) -> Places:
        """Create the directories.

        Raises:
            InvalidError: If a directory cannot be created, belongs to another user, or is a link.
        """
        for path in (self.home, self.runtime, self.shm, self.spill, self.blobs, self.logs):
            private_directory(path)
        return self

    @property
    def endpoint(self) -> str:
        """The ZeroMQ address of the hub on this machine."""
        return f"ipc://{self.socket}"

    @property
    def socket(self) -> Path:
        """The Unix socket of the hub."""
        return self.runtime / "hub.sock"

    @property
    def connection_file(self) -> Path:
        """The file that describes the running hub: endpoint, process id, epoch and protocol version."""
        return self.home / "hub.json"

    @property
    def lock_file(self) -> Path:
        """The file that the hub locks (flock) while it runs."""
        return self.home / "hub.lock"

    @property
    def database(self) -> Path:
        """The SQLite database of the hub."""
        return self.home / "nbfn.db"

    @property
    def blobs(self) -> Path:
        """The directory of stored payloads that are too large for the database."""
        return self.home / "blobs"

    @property
    def spill(self) -> Path:
        """The directory of large values in transit that do not fit into shared memory."""
        return self.home / "spill"

    @property
    def web_file(self) -> Path:
        """The file with the ports and keys of web endpoints."""
        return self.home / "web.json"

    @property
    def logs(self) -> Path:
        """The directory of the logs of the hub and the standard error of workers."""
        return self.home / "logs"

    @property
    def hub_log(self) -> Path:
        """The log of an embedded hub."""
        return self.logs / "hub.log"

    @property
    def web_log(self) -> Path:
        """The log of the gateway process."""
        return self.logs / "web.log"


def private_directory(path: Path) -> None:
    """Create a directory that only this user can access, or restrict an existing one to this user.

    Args:
        path: The directory.

    Raises:
        InvalidError: If it belongs to another user, is a link, or cannot be created.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidError(
            f"Cannot make the directory {path}: {error.strerror}. "
            "Set NBFN_HOME to one that you may write to."
        ) from None
    found = path.lstat()
    if (
        stat.S_ISLNK(found.st_mode)
        or not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.getuid()
    ):
        raise InvalidError(
            f"{path} is a link or belongs to somebody else. Remove it, or set NBFN_HOME elsewhere."
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
