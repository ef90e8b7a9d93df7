"""nbfn: Functions for notebooks. ``import nbfn as modal`` runs Modal programs.

A list of names, each loaded when it is first used: the hub, the workers and every notebook import this.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from nbfn import _unpickle
from nbfn._version import __version__

if sys.platform == "win32":
    raise ImportError("nbfn needs Linux or macOS. On Windows it runs in WSL.")

if TYPE_CHECKING:
    from nbfn import exception, experimental, functions, gpu
    from nbfn.api.app import App
    from nbfn.api.call import FunctionCall, calls
    from nbfn.api.cls import Cls
    from nbfn.api.function import Function
    from nbfn.api.method_decorators import (
        asgi_app,
        batched,
        build,
        concurrent,
        enter,
        exit,
        fastapi_endpoint,
        method,
        web_endpoint,
        web_server,
        wsgi_app,
    )
    from nbfn.api.progress import progress
    from nbfn.api.secret import Secret
    from nbfn.client.client import Client
    from nbfn.context import current_function_call_id, current_input_id, is_local
    from nbfn.declarations.image import Image
    from nbfn.declarations.parameters import parameter
    from nbfn.declarations.retries import Retries
    from nbfn.declarations.schedule import Cron, Period
    from nbfn.declarations.unsupported import (
        CloudBucketMount,
        Dict,
        FilePatternMatcher,
        Mount,
        NetworkFileSystem,
        Proxy,
        Queue,
        Sandbox,
        SandboxSnapshot,
        SchedulerPlacement,
        Tunnel,
        Volume,
        forward,
        interact,
    )
    from nbfn.exception import Error
    from nbfn.runtime.console_output import enable_output
    from nbfn.types import FunctionAutoscalerSettings, FunctionStats, InputInfo, InputStatus

__all__ = [
    "App",
    "Client",
    "CloudBucketMount",
    "Cls",
    "Cron",
    "Dict",
    "Error",
    "FilePatternMatcher",
    "Function",
    "FunctionAutoscalerSettings",
    "FunctionCall",
    "FunctionStats",
    "Image",
    "InputInfo",
    "InputStatus",
    "Mount",
    "NetworkFileSystem",
    "Period",
    "Proxy",
    "Queue",
    "Retries",
    "Sandbox",
    "SandboxSnapshot",
    "SchedulerPlacement",
    "Secret",
    "Tunnel",
    "Volume",
    "__version__",
    "asgi_app",
    "batched",
    "build",
    "calls",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enable_output",
    "enter",
    "exception",
    "exit",
    "experimental",
    "fastapi_endpoint",
    "forward",
    "functions",
    "gpu",
    "interact",
    "is_local",
    "method",
    "parameter",
    "progress",
    "web_endpoint",
    "web_server",
    "wsgi_app",
]

#: Modules that are names of the API themselves.
_MODULES = ("exception", "experimental", "functions", "gpu")

_HOMES = {
    "App": "api.app",
    "Client": "client.client",
    "CloudBucketMount": "declarations.unsupported",
    "Cls": "api.cls",
    "Cron": "declarations.schedule",
    "Dict": "declarations.unsupported",
    "Error": "exception",
    "FilePatternMatcher": "declarations.unsupported",
    "Function": "api.function",
    "FunctionAutoscalerSettings": "types",
    "FunctionCall": "api.call",
    "FunctionStats": "types",
    "Image": "declarations.image",
    "InputInfo": "types",
    "InputStatus": "types",
    "Mount": "declarations.unsupported",
    "NetworkFileSystem": "declarations.unsupported",
    "Period": "declarations.schedule",
    "Proxy": "declarations.unsupported",
    "Queue": "declarations.unsupported",
    "Retries": "declarations.retries",
    "Sandbox": "declarations.unsupported",
    "SandboxSnapshot": "declarations.unsupported",
    "SchedulerPlacement": "declarations.unsupported",
    "Secret": "api.secret",
    "Tunnel": "declarations.unsupported",
    "Volume": "declarations.unsupported",
    "asgi_app": "api.method_decorators",
    "batched": "api.method_decorators",
    "build": "api.method_decorators",
    "calls": "api.call",
    "concurrent": "api.method_decorators",
    "current_function_call_id": "context",
    "current_input_id": "context",
    "enable_output": "runtime.console_output",
    "enter": "api.method_decorators",
    "exit": "api.method_decorators",
    "fastapi_endpoint": "api.method_decorators",
    "forward": "declarations.unsupported",
    "interact": "declarations.unsupported",
    "is_local": "context",
    "method": "api.method_decorators",
    "parameter": "declarations.parameters",
    "progress": "api.progress",
    "web_endpoint": "api.method_decorators",
    "web_server": "api.method_decorators",
    "wsgi_app": "api.method_decorators",
}


_unpickle.find_moved_modules()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"nbfn.{name}")
    if name not in _HOMES:
        hint = "; an App is what it is called today" if name == "Stub" else ""
        raise AttributeError(f"module 'nbfn' has no attribute {name!r}{hint}")
    value = getattr(importlib.import_module(f"nbfn.{_HOMES[name]}"), name)
    if callable(value) and not isinstance(value, type):
        value.__module__ = __name__  # which pickles contain; the module that it is in may change
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: Any) -> None:
    """Set up the magics: what ``%load_ext nbfn`` calls."""
    importlib.import_module("nbfn.jupyter.extension").load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the magics away again: what ``%unload_ext nbfn`` calls, and ``%reload_ext nbfn`` first."""
    importlib.import_module("nbfn.jupyter.extension").unload_ipython_extension(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "_labextension", "dest": "nbfn"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from nbfn.jupyter.server.extension import NbfnApp

    return [{"module": "nbfn.jupyter.server.extension", "app": NbfnApp}]
