"""`Secret`: environment variables whose values are never shown, given directly or stored by the hub."""

from __future__ import annotations

import datetime
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nbfn import _unpickle
from nbfn._names import check_environment, check_name
from nbfn.client.client import Client
from nbfn.config import default_environment
from nbfn.declarations.env_vars import EnvVars, check_variables
from nbfn.exception import AlreadyExistsError, InvalidError, NotFoundError
from nbfn.protocol import messages
from nbfn.runtime.sync import Blocking, blocking
from nbfn.runtime.traceback_filter import trimmed

#: A line of a .env file: a name, and the value quoted or up to a comment.
_LINE = re.compile(
    r"""\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=\s*(?:'([^']*)'|"((?:[^"\\]|\\.)*)"|((?:(?!\s\#)[^\n])*))\s*(?:\#.*)?""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """The result of `Secret.info`; it has no values."""

    name: str
    created_at: datetime.datetime
    keys: tuple[str, ...]


async def _create_deployed(
    deployment_name: str,
    env_dict: Mapping[str, str],
    namespace: Any = None,
    client: Any = None,
    environment_name: str | None = None,
    overwrite: bool = False,
) -> str:
    """Store a secret and return its name; `Secret.objects.create` is the newer form.

    Args:
        deployment_name: The name.
        env_dict: Its variables.
        namespace, client: Accepted for Modal programs.
        environment_name: The environment; the default one of this process when not given.
        overwrite: Whether to replace a secret of that name.

    Raises:
        AlreadyExistsError: If there is one of that name and ``overwrite`` is false.
    """
    __tracebackhide__ = True
    await _store(deployment_name, env_dict, environment_name or "", overwrite=overwrite)
    return deployment_name


class Secret(EnvVars):
    """Environment variables for the workers of a Function: ``@app.function(secrets=[...])``.

    Their values are written to the hub's store, which only you can read, and passed to workers. They are never shown.

    Examples:
        >>> Secret.from_dict({"TOKEN": "x"})
        Secret.from_dict({'TOKEN': ...})
        >>> Secret.from_name("huggingface", required_keys=["HF_TOKEN"])
        Secret.from_name('huggingface')
    """

    __module__ = "nbfn"

    #: Creates, lists and deletes stored secrets: `Secrets.create`, `Secrets.list`, `Secrets.delete`.
    objects: ClassVar[Secrets]
    create_deployed: ClassVar = Blocking(_create_deployed)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise InvalidError(
            "A Secret is made by Secret.from_dict(...), from_name(...), from_dotenv(...) or from_local_environ(...)."
        )

    @classmethod
    @trimmed
    def from_dict(cls, env_dict: Mapping[str, str | None] | None = None) -> Secret:
        """Make a secret from values; those that are None are left out.

        Raises:
            InvalidError: If a value is not a string, or a name is reserved or not valid.
        """
        given: Any = {} if env_dict is None else env_dict
        if isinstance(given, Mapping):
            given = {name: value for name, value in given.items() if value is not None}
        return cls._of("Secret.from_dict", given)

    @classmethod
    @trimmed
    def from_local_environ(cls, env_keys: Sequence[str]) -> Secret:
        """Make a secret from environment variables of this process.

        Raises:
            InvalidError: If one of them is not set.
        """
        if isinstance(env_keys, str) or not all(isinstance(key, str) for key in env_keys):
            raise InvalidError(
                f"env_keys is {env_keys!r}; it must be a list of the names of variables."
            )
        if missing := [key for key in env_keys if key not in os.environ]:
            raise InvalidError(
                f"{', '.join(missing)} is not set here. Set it, or leave it out of from_local_environ."
            )
        return cls._of("Secret.from_local_environ", {key: os.environ[key] for key in env_keys})

    @classmethod
    @trimmed
    def from_dotenv(cls, path: Any = None, *, filename: str = ".env", client: Any = None) -> Secret:
        """Make a secret from a ``.env`` file, which is read now.

        Args:
            path: The file, or the directory from which to search upwards; the working directory when not given.
            filename: The file's name.
            client: Accepted for Modal programs.

        Raises:
            NotFoundError: If there is no such file.
            InvalidError: If a line is not ``NAME=value``; the message has its number.
        """
        if not isinstance(path, str | os.PathLike | None):
            raise InvalidError(f"path is {path!r}; it must be a path.")
        start = Path(path or Path.cwd()).resolve()
        places = [start] if start.is_file() else [d / filename for d in (start, *start.parents)]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise NotFoundError(f"There is no {filename!r} in {start} or above it.")
        return cls._of("Secret.from_dotenv", _parsed(found))

    @classmethod
    @trimmed
    def from_name(
        cls,
        name: str,
        namespace: Any = None,
        environment_name: str | None = None,
        required_keys: Sequence[str] = (),
        *,
        client: Any = None,
    ) -> Secret:
        """Refer to a stored secret, which is looked up when a Function that uses it is registered.

        Args:
            name: The name of the stored secret.
            namespace: Accepted for Modal programs; has no effect.
            environment_name: The environment; that of the App that uses it when not given.
            required_keys: Variables that it must have; a NotFoundError names missing ones.
            client: Accepted for Modal programs; has no effect.
        """
        if isinstance(required_keys, str) or not all(isinstance(key, str) for key in required_keys):
            raise InvalidError(
                f"required_keys is {required_keys!r}; it must be a list of the names of variables."
            )
        environment_name = check_environment(environment_name)
        self = cls.__new__(cls)
        self.name = check_name("The secret's name", name)
        self.environment_name = environment_name
        self.required_keys = tuple(required_keys)
        shown = f", environment_name={environment_name!r}" if environment_name else ""
        self._shown = f"Secret.from_name({name!r}{shown})"
        return self

    @classmethod
    def _of(cls, what: str, values: Any) -> Secret:
        self = cls.__new__(cls)
        self.values = check_variables(what, values)
        names = ", ".join(f"{name!r}: ..." for name in self.values)
        self._shown = f"Secret.from_dict({{{names}}})"
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it by name, or without its values: pickles of code are stored and given to others."""
        if self.name:
            return _unpickle.secret, (self.name, self.environment_name, self.required_keys)
        return _unpickle.secret_without_values, (self._shown,)

    @blocking
    async def info(self) -> SecretInfo:
        """Return when a stored secret was created and which variables it has.

        Raises:
            NotFoundError: If no secret of that name is stored.
            InvalidError: If it is not a stored secret.
        """
        __tracebackhide__ = True
        if not self.name:
            raise InvalidError(f"{self!r} is not stored, so it has no info.")
        for row in await _rows(self.environment_name):
            if row.name == self.name:
                made = datetime.datetime.fromtimestamp(row.created, datetime.UTC)
                return SecretInfo(row.name, made, row.keys)
        raise NotFoundError(_unknown(self.name, self.environment_name))

    @blocking
    async def hydrate(self, client: Any = None) -> Secret:
        """Check that it is stored and return it.

        Raises:
            NotFoundError: If no secret of that name is stored.
        """
        __tracebackhide__ = True
        if self.name:
            await type(self).info.raw(self)
        return self


def _named(name: str, environment_name: str, required_keys: tuple[str, ...]) -> Secret:
    return Secret.from_name(
        name, environment_name=environment_name or None, required_keys=required_keys
    )


def _withheld(shown: str) -> Secret:
    secret = Secret.from_dict({})
    secret.withheld, secret._shown = True, shown
    return secret


class Secrets:
    """The type of ``Secret.objects``: manages stored secrets."""

    @blocking
    async def create(
        self,
        name: str,
        env_dict: Mapping[str, str],
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Any = None,
    ) -> Secret:
        """Store a secret under a name.

        Args:
            name: The name.
            env_dict: Its variables.
            allow_existing: Return an existing secret of that name unchanged instead of raising.
            environment_name: The environment; the default one of this process when not given.
            client: Accepted for Modal programs; has no effect.

        Raises:
            AlreadyExistsError: If there is one of that name.
            InvalidError: If a name is not valid or a value is not a string.
        """
        __tracebackhide__ = True
        try:
            return await _store(name, env_dict, environment_name or "", overwrite=False)
        except AlreadyExistsError:
            if not allow_existing:
                raise
        return Secret.from_name(name, environment_name=environment_name)

    @blocking
    async def list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime.datetime | None = None,
        environment_name: str = "",
        client: Any = None,
    ) -> list[Secret]:
        """Return the secrets of an environment, the newest first.

        Args:
            max_objects: How many at most; all when not given.
            created_before: Only secrets created before then.
            environment_name: The environment; the default one of this process when not given.
            client: Accepted for Modal programs; has no effect.
        """
        __tracebackhide__ = True
        before = created_before.timestamp() if created_before is not None else time.time() + 86400
        rows = sorted(await _rows(environment_name), key=lambda row: -row.created)
        found = [
            Secret.from_name(row.name, environment_name=environment_name or None)
            for row in rows
            if row.created < before
        ]
        return found[:max_objects]

    @blocking
    async def delete(
        self,
        name: str,
        *,
        allow_missing: bool = False,
        environment_name: str | None = None,
        client: Any = None,
    ) -> None:
        """Delete a secret; running workers keep its variables.

        Args:
            name: The name.
            allow_missing: Whether to do nothing if there is none.
            environment_name: The environment; the default one of this process when not given.
            client: Accepted for Modal programs; has no effect.

        Raises:
            NotFoundError: If there is none of that name and ``allow_missing`` is false.
        """
        __tracebackhide__ = True
        there, where = await Client.attach.raw(), environment_name or default_environment()
        try:
            await there.request(lambda number: messages.DeleteSecret(number, name, where))
        except NotFoundError:
            if not allow_missing:
                raise


async def _store(
    name: str, env_dict: Mapping[str, str], environment_name: str, *, overwrite: bool
) -> Secret:
    __tracebackhide__ = True
    values = dict(check_variables(f"Secret {name!r}", env_dict))
    where = environment_name or default_environment()
    name = check_name("The secret's name", name)
    client = await Client.attach.raw()
    await client.request(lambda number: messages.PutSecret(number, name, values, where, overwrite))
    return Secret.from_name(name, environment_name=environment_name or None)


async def _rows(environment_name: str) -> Sequence[messages.SecretRow]:
    __tracebackhide__ = True
    client, where = await Client.attach.raw(), environment_name or default_environment()
    answer: messages.Secrets = await client.request(
        lambda number: messages.ListSecrets(number, where)
    )
    return answer.secrets


def _unknown(name: str, environment_name: str) -> str:
    where = f" (in the {environment_name!r} environment)" if environment_name else ""
    return f"No secret {name!r} is stored{where}. Make it: nbfn secret create {name} NAME=-"


def _parsed(path: Path) -> dict[str, str]:
    values = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if (match := _LINE.fullmatch(line)) is None:
            raise InvalidError(f"Line {number} of {path} is not NAME=value.")
        name, single, double, plain = match.groups()
        if double is not None:
            double = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), double)
        values[name] = next(v for v in (single, double, plain) if v is not None)
        if single is None and double is None:
            values[name] = values[name].strip()
    return values


Secret.objects = Secrets()
