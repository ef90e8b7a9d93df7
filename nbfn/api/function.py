"""`Function`: the handle of one registered callable: what it is and how it becomes live.

Its calls are those of `Calling`, what can be said of its pool is in `Autoscaled`, of variants in `Varying`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, Self, TypeVar

from nbfn import _unpickle
from nbfn.api import endpoint_checks
from nbfn.api.autoscaler import Autoscaled
from nbfn.api.call_methods import Calling
from nbfn.api.handle import Handle, check_lookup
from nbfn.api.variant_methods import Varying
from nbfn.api.variants import has_options, varied, written
from nbfn.client.client import Client
from nbfn.client.logs import LogsManager
from nbfn.client.registration.app_like import AppLike
from nbfn.client.registration.app_scope import AppScope
from nbfn.client.registration.definition import HydratedFunction, define, generates
from nbfn.client.registration.function_ref import FunctionRef, LocalRef, by_name
from nbfn.declarations import partial_function
from nbfn.declarations.options import Options
from nbfn.exception import ExecutionError, InvalidError, NotFoundError
from nbfn.protocol.messages import Variant
from nbfn.runtime.sync import Blocking, blocking, run
from nbfn.runtime.traceback_filter import trimmed
from nbfn.types import FunctionOrigin

P = ParamSpec("P")
R = TypeVar("R")
if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultingTypeVar

    Original = DefaultingTypeVar("Original", default=R)
else:  # defaults of type variables are for checkers; `typing` has them from Python 3.13 on
    Original = TypeVar("Original")


async def _lookup(
    app_name: str,
    name: str | None = None,
    namespace: Any = None,
    client: Client | None = None,
    environment_name: str | None = None,
    *,
    tag: str | None = None,
) -> Function[..., Any]:
    """Find a deployed Function at once; `from_name` is the newer way.

    Args:
        app_name, name, environment_name, client, tag: As of `from_name`.
        namespace: Accepted for Modal programs, without meaning.

    Raises:
        NotFoundError: If there is none.
    """
    __tracebackhide__ = True
    found: Function[..., Any] = Function.from_name(
        app_name, name, environment_name=environment_name, client=client, tag=tag
    )
    await found._live()
    return found


class Function(Handle, Autoscaled, Varying, Calling[P, R], Generic[P, R, Original]):
    """A callable that runs on the workers of its pool.

    Made by ``@app.function()`` or found by `from_name`; its methods register it by themselves when
    they first need to.

    Examples:
        >>> app = App()  # doctest: +SKIP
        >>> @app.function()  # doctest: +SKIP
        ... def square(x):
        ...     return x * x
        >>> square.remote(3), list(square.map(range(4)))  # doctest: +SKIP
        (9, [0, 1, 4, 9])
    """

    __module__ = "nbfn"

    _method: str  # of a class; empty for a function
    _object: str  # how the object prints whose method it is
    _raw: Callable[..., Any] | None  # None: its definition is elsewhere
    _options: Options
    _fetched: Callable[..., Any] | None  # its definition, asked of the hub by a worker
    _here: Callable[..., Any] | None  # how a method is run in this process
    __name__: str
    __wrapped__: Callable[..., Any]

    lookup: ClassVar = Blocking(_lookup)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise InvalidError(
            "A Function is made by @app.function() or Function.from_name(...), not by Function(...)."
        )

    def __class_getitem__(cls, parameters: Any) -> Any:  # the third defaults to the second
        if isinstance(parameters, tuple) and len(parameters) == 2:
            parameters = (*parameters, parameters[1])
        return super().__class_getitem__(parameters)  # type: ignore[misc]

    @classmethod
    def _make(cls, name: str, origin: FunctionRef, method: str = "") -> Self:
        self = cls.__new__(cls)
        self._name = name
        self._ref = origin
        self._method = method
        self._object = ""
        self._raw = self._fetched = self._here = None
        self._options = Options()
        return self

    @classmethod
    def _local(cls, raw: Callable[..., Any], name: str, options: Options, scope: AppScope) -> Self:
        app = f"App({scope.name!r})" if scope.name else "App()"
        describe = functools.partial(define, name, raw, options=options)
        origin = LocalRef(raw, name, f"<Function {name!r} of {app}>", scope, describe)
        self = cls._make(name, origin)
        self._dress(raw, options)
        return self

    def _dress(self, raw: Callable[..., Any] | None, options: Options) -> None:
        """Make it look like the function that it was made of, which is in this process."""
        self._raw, self._options = raw, options
        if raw is not None:
            self.__doc__ = raw.__doc__
            self.__name__ = self._name
            self.__wrapped__ = (
                raw.__get__(raw) if self._method else raw
            )  # its signature has no self

    @classmethod
    def _of_object(
        cls,
        origin: FunctionRef,
        of: str,
        method: str,
        raw: Callable[..., Any] | None = None,
        options: Options | None = None,
        here: Callable[..., Any] | None = None,
    ) -> Self:
        """Return a method of an object.

        Args:
            origin: The object's.
            of: How the object prints.
            method: The method's name.
            raw: The undecorated function, where it is known.
            options: What its marks say.
            here: Runs it in this process.
        """
        self = cls._make(method, origin, method)
        self._object = of
        self._dress(raw, options or Options())
        self._here = here
        return self

    @classmethod
    @trimmed
    def from_name(
        cls,
        app_name: str,
        name: str | None = None,
        namespace: Any = None,
        environment_name: str | None = None,
        *,
        version: int | None = None,
        client: Client | None = None,
        tag: str | None = None,
    ) -> Function[..., Any]:
        """Refer to a Function of a deployed App or of a ``%%remote`` cell; asks nothing before its first use.

        Args:
            app_name: The App's name.
            name: The Function's name in it.
            namespace: Accepted for Modal programs, without meaning.
            environment_name: The environment it was deployed in; "main" when not given.
            version: Stay with this version of the App (see ``nbfn app history``); the newest when not given.
            client: The connection to use; this process's when not given.
            tag: The former name of ``name``.

        Raises:
            InvalidError: If a name is missing or cannot be one.

        Examples:
            >>> Function.from_name("demo", "square")
            Function.from_name('demo', 'square')
        """
        app, name, where = check_lookup("Function", app_name, name, tag, version, environment_name)
        if "." in name:
            cls_name, _, method = name.partition(".")
            raise InvalidError(
                f"{name!r} is no Function but a method of a class: "
                f"use Cls.from_name({app!r}, {cls_name!r})().{method}."
            )
        origin = by_name(app, name, where, version or 0, "Function")
        origin.client = client
        return cls._make(name, origin)

    if not TYPE_CHECKING:  # a checker says that it cannot be called

        @trimmed
        def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
            """Refuse: say where it should run."""
            __tracebackhide__ = True
            raise TypeError(
                f"'Function' object is not callable. Use {self._name}.remote(...) to run it on a worker, "
                f"or {self._name}.local(...) to run it here."
            )

    # --- becoming live ---------------------------------------------------------------------------

    async def _live(self) -> HydratedFunction:
        """Return what the hub knows of this Function, registering or looking it up if need be."""
        __tracebackhide__ = True
        live = await self._ref.live()
        try:
            return live.of(self._method)
        except NotFoundError:  # a name may have become another thing since it was looked up
            return (await self._ref.again()).of(self._method)

    async def _pool(self) -> HydratedFunction:
        __tracebackhide__ = True
        if self._method:
            raise InvalidError(
                f"The methods of an object share its workers: call this on {self._object}, "
                f"not on its method {self._method!r}."
            )
        return await self._live()

    def _varied(self, changes: Variant, shown: str) -> Self:
        """See `Varying`."""
        if self._method:
            raise InvalidError(
                f"{self!r} is a method: make the variant of its class, Cls.with_options(...)."
            )
        if self._options.endpoint is not None:
            raise endpoint_checks.no_variants(self._name)
        if changes.batching is not None and self._raw is not None:
            partial_function.check_batched(self._raw)
        made = self._make(self._name, varied(self._ref, changes, shown))
        made._dress(self._raw, self._options)
        return made

    @blocking
    async def hydrate(self, client: Client | None = None) -> Function[P, R, Original]:
        """Learn from the hub what this Function is (registering it if it is local) and return it.

        Args:
            client: The connection that it uses from now on; this process's when not given.

        Raises:
            NotFoundError: If it was looked up by a name that is not deployed.
            ConnectionError: If no hub answers.
        """
        __tracebackhide__ = True
        await self._hydrate(client)
        return self

    @property
    def object_id(self) -> str:
        """The Function's id (``fu-...``).

        Raises:
            AttributeError: If it is not known yet; `hydrate` first.
        """
        if (known := self._ref.id) is None:
            raise AttributeError(f"{self!r} has no id yet: call it, or its hydrate(), first.")
        return known

    @property
    def is_generator(self) -> bool:
        """Whether it yields, so that `remote_gen` calls it. Asks the hub for one found by name."""
        return (
            generates(self._raw, self._options)
            if self._raw is not None
            else run(self._live()).info.is_generator
        )

    @property
    def web_url(self) -> str | None:
        """The URL of a web endpoint, None for other Functions; asks the hub where it is not known yet."""
        return self.get_web_url()

    @blocking
    async def get_web_url(self) -> str | None:
        """Return the URL of a web endpoint, None for other Functions.

        Raises:
            InvalidError: If it is a method of a variant: requests come to its class.
            NotFoundError: If it was looked up by a name that is not deployed.
            ConnectionError: If no hub answers.
        """
        __tracebackhide__ = True
        if self._raw is not None and self._options.endpoint is None:
            return None
        info = (await self._live()).info
        if info.endpoint is not None and has_options(self._ref):
            raise endpoint_checks.no_variants(f"{self._ref.name}.{self._method}")
        return info.web_url or None

    @property
    def logs(self) -> LogsManager:
        """What its inputs wrote: ``fetch``, ``tail`` and ``stream``."""

        async def scope() -> dict[str, str]:
            return {"function": (await self._live()).info.id}

        return LogsManager(scope, self._client)

    def get_dashboard_url(self) -> None:
        """Return None: nbfn has no web dashboard; its panel in JupyterLab shows the Function."""

    @property
    def tag(self) -> str:
        """Its name in its App."""
        return self._name

    @property
    def app(self) -> AppLike:
        """The App it was made by.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        self.get_raw_f()
        app = written(self._ref).scope.app
        assert app is not None
        return app

    @property
    def info(self) -> FunctionOrigin:
        """Where its definition is.

        Raises:
            ExecutionError: If that is elsewhere (it was found by name).
        """
        return FunctionOrigin.of(self.get_raw_f(), self._name)

    @property
    def spec(self) -> Options:
        """What its decorator was told.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        self.get_raw_f()
        return self._options

    # --- in this process ---------------------------------------------------------------------------

    @trimmed
    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> Original:
        """Run it here, in this thread, as if it had never been decorated.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        __tracebackhide__ = True
        return (self._here or self.get_raw_f())(*args, **kwargs)  # type: ignore[no-any-return]

    @trimmed
    def get_raw_f(self) -> Callable[..., Any]:
        """Return the very object that was decorated.

        Raises:
            ExecutionError: If its definition is elsewhere (it was found by name).
        """
        __tracebackhide__ = True
        if (found := self._definition()) is None:
            raise ExecutionError(
                f"{self!r} has no definition in this process. Call it with .remote(...) instead."
            )
        return found  # type: ignore[no-any-return]

    # --- looks -----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"{self._object}.{self._method}" if self._method else self._ref.shown

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle.function, (self._name, self._ref, self._object, self._method)


def _unpickled(name: str, origin: FunctionRef, of: str, method: str) -> Function[..., Any]:
    if not method:
        return Function._make(name, origin)
    return Function._of_object(origin, of, method)
