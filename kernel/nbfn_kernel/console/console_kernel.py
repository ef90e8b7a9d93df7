"""The Jupyter kernel of consoles on a worker, served by a side thread while user code runs.

Console code runs in that thread, with the Function's globals. Its output is sent to the console, an interrupt stops
only console code, and closing a console does not affect the running input.
"""

from __future__ import annotations

import ast
import asyncio
import ctypes
import inspect
import json
import os
import rlcompleter
import sys
import threading
import traceback
import types
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

from nbfn_kernel.worker import output_capture
from nbfn_kernel.worker.display_shell import WorkerShell
from nbfn_kernel.worker.serial_executor import SerialExecutor

BANNER = (
    "A console on worker {worker}, with the globals of {function}. `frames` has the frames of the\n"
    "running input, innermost first: frames[0].f_locals"
)
_NAME = "<console>"


class ConsoleKernel(Kernel):
    """The kernel that serves consoles."""

    implementation = "nbfn-console"
    implementation_version = "1"
    language_info = {  # noqa: RUF012 - as in the base class
        "name": "python",
        "version": sys.version.split()[0],
        "mimetype": "text/x-python",
        "file_extension": ".py",
        "pygments_lexer": "ipython3",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._executor: SerialExecutor = kwargs["parent"].executor
        self._thread = threading.get_ident()
        self._executing = False
        self.control_handlers.pop("debug_request")

    @property
    def banner(self) -> str:  # type: ignore[override]
        """The text that a console shows first."""
        worker = os.environ.get("NBFN_WORKER", "")
        return BANNER.format(worker=worker, function=function_name(self._executor))

    def do_execute(  # type: ignore[override]
        self, code: str, silent: bool, *_args: Any, **_more: Any
    ) -> asyncio.Future[dict[str, Any]]:
        """Run console code; see `Kernel.do_execute`."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        output_capture.console_outputs[self._thread] = self._emit
        self._executing = True
        try:
            value = self._run(code)
            if value is not None and not silent:
                self._show(value)
            content: dict[str, Any] = {"status": "ok", "payload": [], "user_expressions": {}}
        except BaseException as error:  # noqa: BLE001 - console code may raise anything
            content = self._error(error)
        finally:
            self._executing = False
            output_capture.console_outputs.pop(self._thread, None)
        answer.set_result(content | {"execution_count": self.execution_count})
        return answer

    def _run(self, code: str) -> Any:
        """Run statements; return the value of the last one if it is an expression."""
        tree = ast.parse(WorkerShell.instance().transform_cell(code), _NAME)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        names = global_names(self._executor)
        with _TemporaryName(names, "frames", frames(self._executor)):
            exec(compile(tree, _NAME, "exec"), names)
            if isinstance(last, ast.Expr):
                return eval(_expression(last), names)  # noqa: S307 - the purpose of a console
        return None

    def _show(self, value: object) -> None:
        formatter: Any = WorkerShell.instance().display_formatter
        data, metadata = formatter.format(value)
        shown = {"data": data, "metadata": metadata, "execution_count": self.execution_count}
        self.send_response(self.iopub_socket, "execute_result", shown)

    def _error(self, error: BaseException) -> dict[str, Any]:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != _NAME:
            trace = trace.tb_next
        lines = traceback.format_exception(type(error), error, trace)
        shown = {"ename": type(error).__name__, "evalue": str(error), "traceback": lines}
        self.send_response(self.iopub_socket, "error", shown)
        return {"status": "error", **shown}

    def _emit(self, channel: str, text: str) -> None:
        if channel in ("stdout", "stderr"):
            self.send_response(self.iopub_socket, "stream", {"name": channel, "text": text})
        elif channel == "display":
            shown = json.loads(text)
            kind = "update_display_data" if shown.pop("update") else "display_data"
            self.send_response(self.iopub_socket, kind, shown)

    async def do_complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """Complete names and attributes; see `Kernel.do_complete`."""
        start = cursor_pos
        while start and (code[start - 1].isidentifier() or code[start - 1] in ".0123456789"):
            start -= 1
        with _TemporaryName(
            names := global_names(self._executor), "frames", frames(self._executor)
        ):
            completer = rlcompleter.Completer(names)
            found: list[str] = []
            while len(found) < 500 and (
                one := completer.complete(code[start:cursor_pos], len(found))
            ):
                found.append(one)
        place = {"cursor_start": start, "cursor_end": cursor_pos}
        return {
            "status": "ok",
            "matches": [one.rstrip("()") for one in found],
            "metadata": {},
            **place,
        }

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        """Return whether code is complete; see `Kernel.do_is_complete`."""
        status, indent = WorkerShell.instance().input_transformer_manager.check_complete(code)
        return {"status": status} | ({"indent": " " * indent} if indent is not None else {})

    async def interrupt_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Interrupt console code, by an exception in this thread; a signal would stop the running input."""
        assert self.session is not None
        if self._executing:
            thread, error = ctypes.c_ulong(self._thread), ctypes.py_object(KeyboardInterrupt)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)
        self.session.send(stream, "interrupt_reply", {"status": "ok"}, parent, ident=ident)

    async def shutdown_request(self, stream: Any, ident: Any, parent: dict[str, Any]) -> None:
        """Reply to a shutdown request; the worker continues."""
        assert self.session is not None
        content = {"status": "ok", "restart": False}
        self.session.send(stream, "shutdown_reply", content, parent, ident=ident)


class ConsoleApp(IPKernelApp):
    """Opens the channels, without the changes that `IPKernelApp` makes to its process."""

    kernel_class = ConsoleKernel
    executor: Any = None

    @classmethod
    def open_channels(cls, base: Path, executor: SerialExecutor) -> ConsoleApp:
        """Bind the sockets and write the connection file.

        Args:
            base: The common prefix of the paths of its files.
            executor: The executor of this worker.

        Returns:
            The app, which `start` runs.
        """
        asyncio.set_event_loop(asyncio.new_event_loop())
        self = cls(connection_file=f"{base}.json", transport="ipc", ip=str(base))
        self.executor = executor
        self.init_connection_file()
        self.init_sockets()
        self.init_heartbeat()
        self.write_connection_file()
        self.displayhook = types.SimpleNamespace()  # keeps the worker's `sys.displayhook`
        self.init_kernel()
        return self


class _TemporaryName:
    """Adds a name to a namespace for a while, unless it exists."""

    def __init__(self, names: dict[str, Any], name: str, value: Any) -> None:
        self._names, self._name, self._value = names, name, value

    def __enter__(self) -> None:
        self._is_added = self._name not in self._names
        if self._is_added:
            self._names[self._name] = self._value

    def __exit__(self, *_exc: object) -> None:
        if self._is_added and self._names.get(self._name) is self._value:
            del self._names[self._name]


def _expression(last: ast.Expr) -> CodeType:
    return compile(ast.Expression(last.value), _NAME, "eval")


# --- code that runs ------------------------------------------------------------------------------

_AWAITED_ATTRIBUTES = ("cr_await", "ag_await", "gi_yieldfrom")


def frames(executor: SerialExecutor) -> list[FrameType]:
    """Return the frames of the running user code, innermost first; of concurrent inputs, those of all."""
    stacks = sys._current_frames()
    threads = [threading.main_thread(), *threading.enumerate()]
    wanted = [t.ident for t in threads if t is threads[0] or t.name == "nbfn-input"]
    found: list[FrameType] = []
    for ident in dict.fromkeys(wanted):
        found += _user_frames(stacks.get(ident or 0))
    if executor.concurrent is not None:
        for task in executor.concurrent.tasks():
            found += _awaited_frames(task.get_coro())
    return found


def _awaited_frames(awaitable: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine and of the coroutines that it awaits, innermost first."""
    found: list[FrameType] = []
    while awaitable is not None:
        for kind in ("cr", "ag", "gi"):  # coroutine, asynchronous generator, generator
            if (
                frame := getattr(awaitable, f"{kind}_frame", None)
            ) is not None and not _is_nbfn_frame(frame):
                found.insert(0, frame)
        awaitable = next(
            (
                getattr(awaitable, name)
                for name in _AWAITED_ATTRIBUTES
                if getattr(awaitable, name, None) is not None
            ),
            None,
        )
    return found


def _user_frames(frame: FrameType | None) -> list[FrameType]:
    found = []
    while frame is not None and not _is_nbfn_frame(frame):
        found.append(frame)
        frame = frame.f_back
    return found if frame is not None else []


def _is_nbfn_frame(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "nbfn_kernel"


def global_names(executor: SerialExecutor) -> dict[str, Any]:
    """Return the globals of the Function; of a decorated function, those of the function it wraps."""
    for target in executor.loaded.targets.values() if executor.loaded is not None else ():
        found = inspect.unwrap(getattr(target.function, "__func__", target.function))
        if isinstance(names := getattr(found, "__globals__", None), dict):
            return names
    return vars(sys.modules["__main__"])


def function_name(executor: SerialExecutor) -> str:
    """Return the name of the Function that the worker runs."""
    return executor.loaded.definition.name if executor.loaded is not None else "no Function yet"
