"""The routes of one Function: details, pool, versions, calls, stop and removal."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from nbfn.client.call_observer import CallSink
from nbfn.client.calls.durable_call import DurableCall
from nbfn.client.client import Client
from nbfn.declarations.pool_settings import check_pool_setting
from nbfn.exception import InvalidError
from nbfn.jupyter import version_history
from nbfn.jupyter.argument_form import Field, fields_of
from nbfn.jupyter.server import schema
from nbfn.jupyter.server.json_arguments import arguments_of
from nbfn.jupyter.server.routes import FieldError, Handler, checked, soon
from nbfn.protocol.messages import Definition, FunctionInfo
from nbfn.runtime.sync import drive


class FunctionHandler(Handler):
    """One Function."""

    @web.authenticated
    @authorized
    async def get(self, function_id: str) -> None:
        """Answer with its details."""
        function = checked(function_id, "fu")
        client = await self.hub_client.client()
        info = await soon(client.function_info.aio(function))
        await self.answer(_details(info, await soon(client.definition.aio(function))))

    @web.authenticated
    @authorized
    async def delete(self, function_id: str) -> None:
        """Stop it and remove it from its App."""
        function = checked(function_id, "fu")
        given = self.body(schema.EndRequest)
        client = await self.hub_client.client()
        await soon(client.remove_function.aio(function, end_session=given.end_session))
        await self.answer(schema.Empty())


class AutoscalerHandler(Handler):
    """The autoscaler of one Function."""

    @web.authenticated
    @authorized
    async def patch(self, function_id: str) -> None:
        """Change the settings that the body contains; answer with all settings."""
        settings: dict[str, Any] = msgspec.to_builtins(self.body(schema.AutoscalerChange))
        if not settings:
            raise InvalidError("Name at least one autoscaler setting to change.")
        for name, value in settings.items():
            _check_setting(name, value)
        client = await self.hub_client.client()
        now = await soon(client.set_autoscaler.aio(checked(function_id, "fu"), **settings))
        await self.answer(schema.Autoscaler(**dataclasses.asdict(now)))


def _check_setting(name: str, value: Any) -> None:
    try:
        check_pool_setting(name, value)
    except InvalidError as error:
        raise FieldError(name, str(error)) from None


class VersionsHandler(Handler):
    """The versions of one Function."""

    @web.authenticated
    @authorized
    async def get(self, function_id: str) -> None:
        """Answer with the versions, newest first."""
        client = await self.hub_client.client()
        info = await soon(client.function_info.aio(checked(function_id, "fu")))
        known = await soon(drive(version_history.versions(client, info)))
        rows = [
            schema.VersionRow(
                version=version,
                is_current=version == info.version,
                deployment=release.version,
                deployed=release.at,
                by=release.by,
                commit=release.commit,
                tag=release.tag,
                nbfn=release.client,
            )
            for version, release in known.items()
        ]
        await self.answer(schema.Versions(versions=tuple(rows)))


class RollbackHandler(Handler):
    """Makes an earlier version current."""

    @web.authenticated
    @authorized
    async def post(self, function_id: str) -> None:
        """Deploy an earlier version again; running calls finish with theirs."""
        wanted = self.body(schema.RollbackRequest).version
        client = await self.hub_client.client()
        info = await soon(client.function_info.aio(checked(function_id, "fu")))
        await soon(drive(version_history.roll_back(client, info, wanted)))
        await self.answer(schema.RolledBack(version=wanted))


class StopHandler(Handler):
    """Stops one Function."""

    @web.authenticated
    @authorized
    async def post(self, function_id: str) -> None:
        """Cancel its calls and end its workers."""
        function = checked(function_id, "fu")
        given = self.body(schema.EndRequest)
        client = await self.hub_client.client()
        done = await soon(client.stop_function.aio(function, end_session=given.end_session))
        await self.answer(schema.Stopped(calls=done.calls, workers=done.workers))


class CallHandler(Handler):
    """Calls one Function."""

    @web.authenticated
    @authorized
    async def post(self, function_id: str) -> None:
        """Begin a call, which is stored, and answer with its id."""
        function = checked(function_id, "fu")
        wanted = self.body(schema.CallRequest)
        client = await self.hub_client.client()
        info = await soon(client.function_info.aio(function))
        info, fields = _callable(info, wanted.method)
        args, kwargs = arguments_of(fields, wanted.arguments)
        call = await soon(drive(_spawn(client, info, args, kwargs)))
        await self.answer(schema.CallStarted(call=call))


def _callable(info: FunctionInfo, name: str) -> tuple[FunctionInfo, list[Field]]:
    """Return the description of what to call, and its fields.

    Raises:
        FieldError: If it has no such method.
        InvalidError: If it cannot be called with JSON.
    """
    if info.kind != "cls":
        if name:
            raise FieldError("method", f"{info.name} is not a class, so it has no methods.")
        if info.is_generator:
            raise InvalidError(f"{info.name} is a generator: call remote_gen in a notebook.")
        return info, fields_of(info.signature)
    if info.takes_arguments:
        raise InvalidError(f"{info.name} takes arguments: call its methods in a notebook.")
    method = next((each for each in info.methods if each.name == name), None)
    if method is None:
        known = ", ".join(each.name for each in info.methods)
        raise FieldError("method", f"{info.name} has no method {name!r} (there are: {known}).")
    if method.is_generator:
        raise InvalidError(f"{info.name}.{name} is a generator: call remote_gen in a notebook.")
    return msgspec.structs.replace(info, method=name), fields_of(method.signature)


async def _spawn(
    client: Client, info: FunctionInfo, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str:
    """Begin a stored call and return its id; its output and outcome are not sent to this process."""
    call = DurableCall(client, info, total=1)
    call.sink = CallSink()
    call.put(client.serializer.durable.dump_arguments(args, kwargs))
    await call.stored()
    client.forget(call, settled=False)
    return call.id


def _details(info: FunctionInfo, definition: Definition) -> schema.FunctionDetails:
    resources = definition.resources
    return schema.FunctionDetails(
        id=info.id,
        app=info.app,
        name=info.name,
        version=info.version,
        environment_name=info.environment_name,
        deployed=info.deployed,
        kind=info.kind,
        is_generator=info.is_generator,
        is_async=info.is_async,
        signature=info.signature,
        doc=info.doc,
        source=definition.source,
        filename=definition.filename,
        owner=definition.owner,
        made=definition.made,
        digest=definition.digest,
        python=definition.environment.python,
        executable=definition.environment.executable,
        timeout=info.timeout,
        max_retries=definition.retries.max_retries,
        cpu=resources.cpu,
        memory=resources.memory,
        gpu=resources.gpu,
        fields=_fields(info.signature) if info.kind != "cls" else (),
        methods=tuple(
            schema.MethodDetails(
                name=method.name,
                signature=method.signature,
                doc=method.doc,
                is_generator=method.is_generator,
                fields=_fields(method.signature),
            )
            for method in info.methods
        ),
        import_line=_import_line(info),
        call_line=_call_line(info),
    )


def _fields(signature: str) -> tuple[schema.Field, ...]:
    return tuple(schema.Field(**field.view()) for field in fields_of(signature))


def _import_line(info: FunctionInfo) -> str:
    """Return Python code that binds the Function to its name."""
    kind = "Cls" if info.kind == "cls" else "Function"
    if not info.deployed:
        return f"{info.name} = nbfn.{kind}.from_id({info.id!r})" if kind == "Function" else ""
    where = f", environment_name={info.environment_name!r}" * (info.environment_name != "main")
    return f"{info.name} = nbfn.{kind}.from_name({info.app!r}, {info.name!r}{where})"


def _call_line(info: FunctionInfo) -> str:
    """Return Python code that calls the Function, with the names of required parameters."""
    if info.kind == "cls":
        method = next(iter(info.methods), None)
        if method is None:
            return ""
        how, signature = f"{info.name}().{method.name}.remote", method.signature
    else:
        how = f"{info.name}.{'remote_gen' if info.is_generator else 'remote'}"
        signature = info.signature
    needed = [field.name for field in fields_of(signature) if field.default is None]
    return f"{how}({', '.join(needed)})"


ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/nbfn/api/functions/([^/]+)", FunctionHandler),
    (r"/nbfn/api/functions/([^/]+)/autoscaler", AutoscalerHandler),
    (r"/nbfn/api/functions/([^/]+)/versions", VersionsHandler),
    (r"/nbfn/api/functions/([^/]+)/rollback", RollbackHandler),
    (r"/nbfn/api/functions/([^/]+)/stop", StopHandler),
    (r"/nbfn/api/functions/([^/]+)/call", CallHandler),
]
