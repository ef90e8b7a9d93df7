"""The names that pickles of nbfn's own objects contain.

A pickle names the function that rebuilds an object by its module and its name. Stored definitions, inputs and results
are pickles, so those names may never change, while the code that they lead to moves. Therefore nbfn's pickles name
the functions of this module. Each hands over to the module that rebuilds such an object now.

Add functions and optional parameters here; never rename or remove any. Nothing of nbfn is imported before it is
needed, so every module may import this one.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

# --- handles -------------------------------------------------------------------------------------


def function(*parts: Any) -> Any:
    """Rebuild a `nbfn.Function`."""
    return _find("nbfn.api.function:_unpickled")(*parts)


def cls(*parts: Any) -> Any:
    """Rebuild a `nbfn.Cls`."""
    return _find("nbfn.api.cls:_cls_unpickled")(*parts)


def instance(*parts: Any) -> Any:
    """Rebuild an object of a `nbfn.Cls`."""
    return _find("nbfn.api.cls:_instance_unpickled")(*parts)


def reference_by_id(*parts: Any) -> Any:
    """Rebuild the reference to a registered Function from its id."""
    return _find("nbfn.client.registration.remote_ref:by_id")(*parts)


def reference_by_name(*parts: Any) -> Any:
    """Rebuild the reference to a deployed Function from its name."""
    return _find("nbfn.client.registration.remote_ref:by_name")(*parts)


def reference_in_app(*parts: Any) -> Any:
    """Rebuild the reference to a Function of a running App from its name."""
    return _find("nbfn.client.registration.remote_ref:by_app")(*parts)


def variant(*parts: Any) -> Any:
    """Rebuild the reference to a variant of a Function."""
    return _find("nbfn.api.variants:unpickled")(*parts)


def app_scope() -> Any:
    """Return what an App and its Functions know of where they are registered, to be filled."""
    return _find("nbfn.client.registration.app_scope:AppScope")()


def secret(*parts: Any) -> Any:
    """Rebuild a stored `nbfn.Secret` from its name."""
    return _find("nbfn.api.secret:_named")(*parts)


def secret_without_values(*parts: Any) -> Any:
    """Rebuild a `nbfn.Secret` whose values stay in the process that has them."""
    return _find("nbfn.api.secret:_withheld")(*parts)


def parameter(*parts: Any) -> Any:
    """Rebuild a `nbfn.parameter` of a class."""
    return _find("nbfn.declarations.parameters:_make_descriptor")(*parts)


def decorated_function() -> Any:
    """Return what `nbfn.method` and its like make of a function, to be filled."""
    kind: Any = _find("nbfn.declarations.partial_function:PartialFunction")
    return kind.__new__(kind)


def decorator_options(packed: bytes) -> Any:
    """Rebuild what `nbfn.method` and its like say of a function."""
    return _find("nbfn.declarations.partial_function:unpack_options")(packed)


# --- code ----------------------------------------------------------------------------------------


def class_skeleton(*parts: Any) -> Any:
    """Rebuild a class, without its attributes."""
    return _find("nbfn.serialization.class_ids:load_class")(*parts)


def set_class_state(kind: type, state: Any) -> None:
    """Set the attributes of a class that `class_skeleton` made."""
    _find("nbfn.serialization.class_ids:set_class_state")(kind, state)


def main_globals(*parts: Any) -> Any:
    """Return the globals of functions that were defined in `__main__`."""
    return _find("nbfn.serialization.namespace:globals_of_main")(*parts)


def main_function(*parts: Any) -> Any:
    """Rebuild a function that `__main__` has under a name."""
    return _find("nbfn.serialization.pickler:_make_main_function")(*parts)


def main_function_or_own(*parts: Any) -> Any:
    """Return the function that this process has under the same name with the same code, or rebuild it."""
    return _find("nbfn.serialization.pickler:_find_or_make_main_function")(*parts)


def set_function_state(made: Any, state: Any) -> None:
    """Set the attributes of a function that `main_function_or_own` made."""
    _find("nbfn.serialization.pickler:_set_function_state")(made, state)


def same_object(thing: Any) -> Any:
    """Return an object that was pickled in the place of another."""
    return thing


def cached_function(*parts: Any) -> Any:
    """Rebuild what `functools.lru_cache` made, with an empty cache."""
    return _find("nbfn.serialization.pickler:make_cached_function")(*parts)


def cached_property(*parts: Any) -> Any:
    """Rebuild a `functools.cached_property`."""
    return _find("nbfn.serialization.pickler:make_cached_property")(*parts)


def single_dispatch(*parts: Any) -> Any:
    """Rebuild what `functools.singledispatch` made."""
    return _find("nbfn.serialization.pickler:make_single_dispatch")(*parts)


def single_dispatch_method(*parts: Any) -> Any:
    """Rebuild a `functools.singledispatchmethod`."""
    return _find("nbfn.serialization.pickler:make_single_dispatch_method")(*parts)


def type_alias(*parts: Any) -> Any:
    """Rebuild a type alias."""
    return _find("nbfn.serialization.pickler:make_type_alias")(*parts)


def type_parameter(*parts: Any) -> Any:
    """Rebuild a type parameter."""
    return _find("nbfn.serialization.pickler:make_type_parameter")(*parts)


# --- processes that a worker starts --------------------------------------------------------------


def worker_main(*parts: Any) -> Any:
    """Tell a child process of a worker what to make its `__main__` of."""
    return _find("nbfn_kernel.worker.main_module:set_parent")(*parts)


def method_of_worker(*parts: Any) -> Any:
    """Return the Function of a method of the object that a worker has."""
    return _find("nbfn_kernel.worker.loaded_function:method_of_worker")(*parts)


@functools.cache
def _find(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


# --- pickles of older versions -------------------------------------------------------------------

#: What pickles of nbfn 35f8363 name, and where it is now, by the module that it was in. Only modules that do not
#: exist any more are looked up here.
MOVED: dict[str, dict[str, str]] = {
    "nbfn.cloud": {
        "forward": "nbfn.declarations.unsupported:forward",
        "interact": "nbfn.declarations.unsupported:interact",
    },
    "nbfn.cls": {"_cls_travelled": "nbfn.api.cls:_cls_unpickled"},
    "nbfn.code.identity": {
        "arrive": "nbfn.serialization.class_ids:load_class",
        "fill": "nbfn.serialization.class_ids:set_class_state",
    },
    "nbfn.code.pickler": {
        "_cached": "nbfn.serialization.pickler:make_cached_function",
        "_itself": "nbfn._unpickle:same_object",
    },
    "nbfn.context": {
        "current_function_call_id": "nbfn.context:current_function_call_id",
        "current_input_id": "nbfn.context:current_input_id",
        "is_local": "nbfn.context:is_local",
    },
    "nbfn.endpoint": {
        "asgi_app": "nbfn.api.method_decorators:asgi_app",
        "fastapi_endpoint": "nbfn.api.method_decorators:fastapi_endpoint",
        "web_endpoint": "nbfn.api.method_decorators:web_endpoint",
        "web_server": "nbfn.api.method_decorators:web_server",
        "wsgi_app": "nbfn.api.method_decorators:wsgi_app",
    },
    "nbfn.function": {"_travelled": "nbfn.api.function:_unpickled"},
    "nbfn.handles.varied": {
        "Supplied": "nbfn.api.variants:ConstructorArguments",
        "Varied": "nbfn.api.variants:VariantRef",
    },
    "nbfn.instance": {"_instance_travelled": "nbfn.api.cls:_instance_unpickled"},
    "nbfn.marks": {
        "Marks": "nbfn.declarations.partial_function:DecoratorOptions",
        "Partial": "nbfn.declarations.partial_function:PartialFunction",
        "batched": "nbfn.api.method_decorators:batched",
        "build": "nbfn.api.method_decorators:build",
        "concurrent": "nbfn.api.method_decorators:concurrent",
        "enter": "nbfn.api.method_decorators:enter",
        "exit": "nbfn.api.method_decorators:exit",
        "method": "nbfn.api.method_decorators:method",
    },
    "nbfn.meter": {"progress": "nbfn.api.progress:progress"},
    "nbfn.mine": {"calls": "nbfn.api.call:calls"},
    "nbfn.options": {
        "Batching": "nbfn.declarations.options:Batching",
        "Concurrency": "nbfn.declarations.options:Concurrency",
        "Endpoint": "nbfn.declarations.options:Endpoint",
    },
    "nbfn.output": {"enable_output": "nbfn.runtime.console_output:enable_output"},
    "nbfn.parameters": {
        "_declared": "nbfn.declarations.parameters:_make_descriptor",
        "parameter": "nbfn.declarations.parameters:parameter",
    },
    "nbfn.registration.home": {"Home": "nbfn.client.registration.app_scope:AppScope"},
    "nbfn.registration.origin": {
        "_from_home": "nbfn.client.registration.remote_ref:by_app",
        "by_id": "nbfn.client.registration.remote_ref:by_id",
        "by_name": "nbfn.client.registration.remote_ref:by_name",
    },
    "nbfn.secret": {
        "_named": "nbfn.api.secret:_named",
        "_withheld": "nbfn.api.secret:_withheld",
    },
    "nbfn.wire.messages.base": {"Payload": "nbfn.protocol.messages.base:Payload"},
    "nbfn.wire.messages.definition": {"Variant": "nbfn.protocol.messages.definition:Variant"},
}


class _MovedModules:
    """Finds and loads the modules in `MOVED`, which have only the names that pickles contain."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        if not any(f"{name}.".startswith(f"{fullname}.") for name in MOVED):
            return None
        loader: Any = self  # by its methods: `importlib.abc` takes long to import
        return importlib.machinery.ModuleSpec(fullname, loader, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """See `importlib.abc.Loader.create_module`."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader.exec_module`."""
        for name, path in MOVED.get(module.__name__, {}).items():
            setattr(module, name, _find(path))


def find_moved_modules() -> None:
    """Have pickles find what was in modules that do not exist any more. Called when nbfn is imported."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
