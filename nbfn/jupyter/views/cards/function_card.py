"""Displays a Function or class: signature, documentation, pool, and a form to call it."""

from __future__ import annotations

import inspect
import os
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from nbfn.api.cls import Cls
from nbfn.api.description import Description, describe, hydrated
from nbfn.api.function import Function
from nbfn.exception import Error
from nbfn.jupyter.argument_form import Field, FormError, arguments_of, fields_of
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.calls.call_record import value_text
from nbfn.jupyter.views.cards.pool_follower import follow
from nbfn.jupyter.views.status_style import MUTED, box_html, code_html, link_html
from nbfn.jupyter.views.widget_output import SAVED_STATIC, Actions, publish
from nbfn.protocol.messages import FunctionInfo, FunctionRow

#: Characters of its documentation that are shown.
DOC_WIDTH = 300


@dataclass(slots=True)
class FunctionCard:
    """The contents of the card of a Function or class.

    Attributes:
        warm: Workers kept ready; None if the card cannot change it.
        kind: function, generator, endpoint, cls or method.
        version: 0 if it is not registered yet.
        url: The URL of a web endpoint.
        constructor: For a class with parameters, the call that creates an object; each object has its own
            workers.
        imports: The code that looks it up in another notebook; empty if that is not possible.
        methods: The methods of a class, with their signatures.
    """

    name: str
    signature: str = ""
    doc: str = ""
    kind: str = "function"
    app: str = ""
    version: int = 0
    warm: int | None = None
    workers: int = 0
    running: int = 0
    backlog: int = 0
    imports: str = ""
    url: str = ""
    constructor: str = ""
    methods: list[str] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    state: str = ""
    note: str = ""
    result: str = ""
    busy: bool = False

    @property
    def title(self) -> str:
        """The name and version."""
        return f"{self.name} v{self.version}" if self.version else self.name

    @property
    def pool(self) -> str:
        """The state of the pool as text."""
        if not self.version:
            if self.kind == "method":
                return "its first call creates the object"
            return "not registered yet; its first call registers it"
        if self.constructor:
            return f"{self.constructor} creates an object with its own workers"
        parts = [f"workers {self.workers}", f"running {self.running}", f"queue {self.backlog}"]
        return " · ".join([*([f"warm {self.warm}"] if self.warm is not None else []), *parts])

    def take(self, row: FunctionRow) -> bool:
        """Update the state of the pool; return whether anything changed."""
        before = self.view()
        self.workers, self.running, self.backlog = row.workers, row.running, row.backlog
        self.state, self.version = row.state, row.version
        self.url = row.web_url or ""
        if not self.constructor and self.kind != "method":  # the pool belongs to its object
            self.warm = row.min_containers
        return self.view() != before

    def line(self) -> str:
        """Return the card as plain text.

        Examples:
            >>> print(FunctionCard("embed", "(x: int)", "Embed it.", app="churn", version=4, warm=1).line())
            ƒ embed v4 · app churn · warm 1 · workers 0 · running 0 · queue 0
              embed(x: int)
              Embed it.
        """
        mark = "C" if self.kind == "cls" else "ƒ"
        parts = [f"{mark} {self.title}", f"app {self.app or '—'}", self.kind_label, self.pool]
        head = " · ".join(part for part in parts if part)
        rows = [self.call, *self.methods, self.doc, self.url]
        return "\n".join([head, *(f"  {row}" for row in rows if row)])

    @property
    def kind_label(self) -> str:
        """The kind, except for a plain Function."""
        return {"cls": "class", "endpoint": "web endpoint", "function": ""}.get(
            self.kind, self.kind
        )

    @property
    def app_label(self) -> str:
        """The App and the kind."""
        return " · ".join(part for part in (self.app, self.kind_label) if part)

    @property
    def callable(self) -> bool:
        """Whether a form can call it."""
        plain = self.kind in ("function", "generator", "method")
        return plain and bool(self.fields or self.signature.startswith("()"))

    @property
    def call(self) -> str:
        """The name and the signature."""
        return f"{self.name}{self.signature}"

    def html(self) -> str:
        """Return the card as static HTML."""
        app = f'<span style="{MUTED}">{escape(f"{self.app_label} · {self.pool}")}</span>'
        doc = f'<div style="{MUTED};white-space:pre-wrap">{escape(self.doc)}</div>'
        return box_html(
            f"<div><b>{escape(self.title)}</b> {app}</div>",
            *map(code_html, [self.call, *self.methods]),
            doc if self.doc else "",
            link_html(self.url) if self.url else "",
            code_html(self.imports) if self.imports else "",
        )

    def view(self) -> dict[str, Any]:
        """Return the card as data for the front end."""
        return {
            "title": self.title,
            "app": self.app_label,
            "url": self.url,
            "call": self.call,
            "doc": self.doc,
            "methods": self.methods,
            "pool": self.pool,
            "warm": self.warm,
            "imports": self.imports,
            "fields": [field.view() for field in self.fields],
            "callable": self.callable,
            "note": self.note,
            "result": self.result,
            "busy": self.busy,
            "shown": 0,
        }


def card_of(thing: Function[..., Any] | Cls) -> FunctionCard:
    """Return the card of a Function or class; asks the hub about it if it is registered.

    Args:
        thing: The Function or class.

    Returns:
        The card.
    """
    seen = describe(thing)
    if seen.hydrated is None and seen.definition is not None:
        return _unregistered(thing, seen)
    info = hydrated(thing).info
    made = FunctionCard(
        info.name, info.signature, _doc(info.doc), _kind(info), info.app, info.version
    )
    if seen.method:
        _of_method(made, info, seen.method)
    elif info.kind == "cls":
        made.methods = [f".{m.name}{m.signature}" for m in info.methods]
        made.constructor = _constructor(info) if info.takes_arguments else ""
    if info.deployed and not seen.method:
        made.imports = _imports(info)
    if made.kind in ("function", "generator", "method"):
        made.fields = fields_of(made.signature)
    read_pool(made, thing)
    return made


def _kind(info: FunctionInfo) -> str:
    if info.kind == "cls":
        return "cls"
    return "endpoint" if info.endpoint else "generator" if info.is_generator else "function"


def _of_method(card: FunctionCard, info: FunctionInfo, name: str) -> None:
    card.name = f"{info.name}.{name}"
    card.kind = "method"
    for method in info.methods:
        if method.name == name:
            card.signature, card.doc = method.signature, _doc(method.doc)
            card.kind = "endpoint" if method.endpoint else card.kind


def _constructor(info: FunctionInfo) -> str:
    """Return the call that creates an object of a class, with its required arguments."""
    fields = fields_of(info.signature)
    needed = [f for f in fields if f.default is None and f.role in ("positional", "keyword")]
    given = ["…" if f.role == "positional" else f"{f.name}=…" for f in needed]
    return f"{info.name}({', '.join(given)})"


def _imports(info: FunctionInfo) -> str:
    kind = "Cls" if info.kind == "cls" else "Function"
    inside = info.environment_name not in ("", "main")
    where = f", environment_name={info.environment_name!r}" if inside else ""
    found = f"nbfn.{kind}.from_name({info.app!r}, {info.name!r}{where})"
    return f"import nbfn\n{_bare(info.name)} = {found}"


def read_pool(card: FunctionCard, thing: Function[..., Any] | Cls) -> None:
    """Update the state of the pool in a card from the hub.

    Args:
        card: The card.
        thing: The Function or class.
    """
    known = describe(thing).hydrated
    if known is None:
        return
    rows: tuple[FunctionRow, ...] = known.client.overview().functions
    row = next((row for row in rows if row.id == known.info.id), None)
    if row is not None:
        card.take(row)


def _unregistered(thing: Function[..., Any] | Cls, seen: Description) -> FunctionCard:
    doc = _doc(inspect.getdoc(seen.definition) or "")
    if isinstance(thing, Cls):
        return FunctionCard(seen.name, _signature(seen.definition), doc, "cls")
    if seen.method:
        signature = _signature(seen.definition, bound=True)
        made = FunctionCard(repr(thing), signature, doc, "method", app=seen.app)
    else:
        made = FunctionCard(seen.name, _signature(seen.definition), doc, app=seen.app)
    made.fields = fields_of(made.signature)
    return made


def _signature(raw: Any, *, bound: bool = False) -> str:
    """Return the signature of a function; of a method without its first parameter."""
    try:
        found = inspect.signature(raw)
    except (TypeError, ValueError):
        return "(...)"
    return str(found.replace(parameters=[*found.parameters.values()][1:]) if bound else found)


def _doc(text: str) -> str:
    first = text.strip().partition("\n\n")[0]
    return first if len(first) <= DOC_WIDTH else f"{first[: DOC_WIDTH - 1]}…"


def _bare(name: str) -> str:
    return name if name.isidentifier() else "f"


class CardDisplay:
    """A display of a card in one cell.

    Args:
        thing: The Function or class.
        area: The cell.
        names: The notebook's namespace, for the expressions in the form.
    """

    def __init__(
        self, thing: Function[..., Any] | Cls, area: OutputArea, names: dict[str, Any]
    ) -> None:
        self._thing = thing
        self._names = names
        self._area = area
        self.card = card_of(thing)
        # Where saved notebooks keep widgets, these would not work later: use static HTML.
        interactive = area.widgets and SAVED_STATIC in os.environ
        self._widget: Any = area.run(self._open_widget) if interactive else None
        self.function_id = ""
        self._follow()
        publish(area, uuid.uuid4().hex, self._widget, self.card.line(), self.card.html())

    def _open_widget(self) -> Any:
        from nbfn.jupyter.views.cards.widget import CardWidget

        actions: Actions = {
            "warm": lambda said: self._aside(lambda: self._warm(int(said["by"]))),
            "call": lambda said: self._aside(lambda: self._call(said["values"])),
        }
        return CardWidget(self.card.view(), actions)

    # --- buttons, each on a new thread ---

    def _aside(self, action: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                action()
            except FormError as error:
                self.card.note = str(error)
            except Exception as error:  # noqa: BLE001 - displayed in the card
                self.card.note = f"{type(error).__name__}: {error}"
            finally:
                self.card.busy = False
                self._widget.show(self.card.view())

        self.card.note = ""
        threading.Thread(
            target=self._area.run, args=(run,), name="nbfn-function-card", daemon=True
        ).start()

    def _warm(self, by: int) -> None:
        """Keep more or fewer workers warm than the pool has now, whoever set that number."""
        # A class without parameters has one pool, shared by its objects.
        pool = self._thing() if isinstance(self._thing, Cls) else self._thing
        read_pool(self.card, self._thing)
        pool.keep_warm(max(0, (self.card.warm or 0) + by))
        read_pool(self.card, self._thing)
        self._follow()

    def _follow(self) -> None:
        """Follow the pool from now on, if there is a widget and the Function is registered."""
        known = describe(self._thing).hydrated
        if self._widget is None or known is None or self.function_id == known.info.id:
            return
        self.function_id = known.info.id
        self._widget.display = self  # followers are kept as long as the widget
        follow(known.client, self)

    def pool_changed(self, row: FunctionRow) -> None:
        """Show what changed in the pool, also if another process changed it."""
        if self.card.take(row):
            self._area.run(self._widget.show, self.card.view())

    def _call(self, values: Mapping[str, Any]) -> None:
        function = self._thing
        assert isinstance(function, Function)
        args, kwargs = arguments_of(self.card.fields, values, self._names)
        self.card.busy, self.card.result = True, ""
        self._widget.show(self.card.view())
        if function.is_generator:
            found: Any = list(function.remote_gen(*args, **kwargs))
        else:
            found = function.remote(*args, **kwargs)
        self._names["result"] = found
        self.card.result = value_text(found)
        self.card.note = "bound to `result`"
        read_pool(self.card, function)
        self._follow()


def show(thing: Function[..., Any] | Cls, names: dict[str, Any]) -> None:
    """Display a Function or class in the running cell.

    Args:
        thing: The Function or class.
        names: The notebook's namespace.
    """
    try:
        CardDisplay(thing, OutputArea(), names)
    except Error as error:
        OutputArea().publish({"text/plain": f"{thing!r}: {error}"})


def install(shell: Any) -> None:
    """Register the display of Functions and classes in IPython."""
    for kind in (Function, Cls):
        shell.display_formatter.ipython_display_formatter.for_type(
            kind, lambda thing: show(thing, shell.user_ns)
        )


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    for kind in (Function, Cls):
        shell.display_formatter.ipython_display_formatter.pop(kind, None)
