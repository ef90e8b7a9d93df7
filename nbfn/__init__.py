"""nbfn: Functions for notebooks. ``import nbfn as modal`` runs Modal programs.

A list of names, each loaded when it is first used: the hub, the workers and every notebook import this.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nbfn import _unpickle
from nbfn._version import __version__

if TYPE_CHECKING:
    from nbfn import exception, experimental, functions, gpu
    from nbfn.app import App
    from nbfn.call import FunctionCall
    from nbfn.client import Client
    from nbfn.cls import Cls
    from nbfn.console_output import enable_output
    from nbfn.context import current_function_call_id, current_input_id, is_local
    from nbfn.exception import Error
    from nbfn.function import Function
    from nbfn.image import Image
    from nbfn.method_decorators import batched, build, concurrent, enter, exit, method
    from nbfn.mine import calls
    from nbfn.parameters import parameter
    from nbfn.progress_reporting import progress
    from nbfn.retries import Retries
    from nbfn.schedule import Cron, Period
    from nbfn.secret import Secret
    from nbfn.types import FunctionAutoscalerSettings, FunctionStats, InputInfo, InputStatus
    from nbfn.unsupported import (
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
    from nbfn.web_decorators import (
        asgi_app,
        fastapi_endpoint,
        web_endpoint,
        web_server,
        wsgi_app,
    )

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
    "App": "app",
    "Client": "client",
    "CloudBucketMount": "unsupported",
    "Cls": "cls",
    "Cron": "schedule",
    "Dict": "unsupported",
    "Error": "exception",
    "FilePatternMatcher": "unsupported",
    "Function": "function",
    "FunctionAutoscalerSettings": "types",
    "FunctionCall": "call",
    "FunctionStats": "types",
    "Image": "image",
    "InputInfo": "types",
    "InputStatus": "types",
    "Mount": "unsupported",
    "NetworkFileSystem": "unsupported",
    "Period": "schedule",
    "Proxy": "unsupported",
    "Queue": "unsupported",
    "Retries": "retries",
    "Sandbox": "unsupported",
    "SandboxSnapshot": "unsupported",
    "SchedulerPlacement": "unsupported",
    "Secret": "secret",
    "Tunnel": "unsupported",
    "Volume": "unsupported",
    "asgi_app": "web_decorators",
    "batched": "method_decorators",
    "build": "method_decorators",
    "calls": "mine",
    "concurrent": "method_decorators",
    "current_function_call_id": "context",
    "current_input_id": "context",
    "enable_output": "console_output",
    "enter": "method_decorators",
    "exit": "method_decorators",
    "fastapi_endpoint": "web_decorators",
    "forward": "unsupported",
    "interact": "unsupported",
    "is_local": "context",
    "method": "method_decorators",
    "parameter": "parameters",
    "progress": "progress_reporting",
    "web_endpoint": "web_decorators",
    "web_server": "web_decorators",
    "wsgi_app": "web_decorators",
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
    importlib.import_module("nbfn.notebook.extension").load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """Take the magics away again: what ``%unload_ext nbfn`` calls, and ``%reload_ext nbfn`` first."""
    importlib.import_module("nbfn.notebook.extension").unload_ipython_extension(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "_labextension", "dest": "nbfn"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from nbfn.lab.extension import NbfnApp

    return [{"module": "nbfn.lab.extension", "app": NbfnApp}]
