"""nbfn: Functions for notebooks. ``import nbfn as modal`` runs Modal programs.

A list of names, each loaded when it is first used: the hub, the workers and every notebook import this.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbfn import exception
    from nbfn.app import App
    from nbfn.call import FunctionCall
    from nbfn.client import Client
    from nbfn.context import current_function_call_id, current_input_id, is_local
    from nbfn.endpoint import asgi_app, fastapi_endpoint, web_endpoint, web_server, wsgi_app
    from nbfn.exception import Error
    from nbfn.function import Function
    from nbfn.marks import batched, concurrent, enter, exit, method
    from nbfn.retries import Retries
    from nbfn.schedule import Cron, Period
    from nbfn.secret import Secret
    from nbfn.types import FunctionAutoscalerSettings, FunctionStats, InputStatus

__version__ = "0.1.0"

__all__ = [
    "App",
    "Client",
    "Cron",
    "Error",
    "Function",
    "FunctionAutoscalerSettings",
    "FunctionCall",
    "FunctionStats",
    "InputStatus",
    "Period",
    "Retries",
    "Secret",
    "__version__",
    "asgi_app",
    "batched",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enter",
    "exception",
    "exit",
    "fastapi_endpoint",
    "is_local",
    "method",
    "web_endpoint",
    "web_server",
    "wsgi_app",
]

_HOMES = {
    "App": "app",
    "Client": "client",
    "Cron": "schedule",
    "Error": "exception",
    "Function": "function",
    "FunctionAutoscalerSettings": "types",
    "FunctionCall": "call",
    "FunctionStats": "types",
    "InputStatus": "types",
    "Period": "schedule",
    "Retries": "retries",
    "Secret": "secret",
    "asgi_app": "endpoint",
    "batched": "marks",
    "concurrent": "marks",
    "current_function_call_id": "context",
    "current_input_id": "context",
    "enter": "marks",
    "exit": "marks",
    "fastapi_endpoint": "endpoint",
    "is_local": "context",
    "method": "marks",
    "web_endpoint": "endpoint",
    "web_server": "endpoint",
    "wsgi_app": "endpoint",
}


def __getattr__(name: str) -> Any:
    if name == "exception":
        return importlib.import_module("nbfn.exception")
    if name not in _HOMES:
        raise AttributeError(f"module 'nbfn' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nbfn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(ipython: Any) -> None:
    """Set up the magics: what ``%load_ext nbfn`` calls."""
    importlib.import_module("nbfn.notebook.magics").load_ipython_extension(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "_labextension", "dest": "nbfn"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from nbfn.lab.extension import NbfnApp

    return [{"module": "nbfn.lab.extension", "app": NbfnApp}]
