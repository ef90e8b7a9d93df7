"""The output of a cell that registers Functions, as text and as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from nbfn.jupyter.views.status_style import MUTED, mark_html
from nbfn.runtime.byte_size import format_bytes
from nbfn.serialization.dependencies import HANDLES

if TYPE_CHECKING:
    from nbfn.serialization.function_pickling import Captured

#: Largest length of a value that is shown beside its name.
_VALUE_WIDTH = 24
#: Defaults of parameters are listed from this size on.
_HEAVY_DEFAULT = 1024
#: Captured names shown before "and n more".
_MOST = 12


@dataclass(frozen=True, slots=True)
class Summary:
    """A registered Function, as its cell displays it.

    Attributes:
        created: False if the same code was registered before.
        captures: The captured names as text; see `captures`.
        would_be_size: How large it would be, when it was not registered.
        undefined: Names that it uses and that are not defined so far.
        deployed: Whether other notebooks find it by name.
    """

    name: str
    app: str
    version: int
    created: bool
    warm: int
    captures: tuple[str, ...]
    signature: str = ""
    would_be_size: str = ""
    undefined: tuple[str, ...] = ()
    deployed: bool = True

    def line(self) -> str:
        """Return the summary as plain text.

        Examples:
            >>> Summary("embed", "churn", 4, True, 1, ("np", "helper()", "threshold=3 (28 B)")).line()
            '✓ embed v4 · app churn · warm 1 · captures np, helper(), threshold=3 (28 B)'
            >>> Summary("embed", "churn", 4, False, 0, ()).line()
            '✓ embed unchanged, v4 · app churn'
        """
        if self.would_be_size:
            return f"○ {self.name} would be registered, {self.would_be_size}{self._rest()}"
        title = f"{self.name} v{self.version}" if self.created else f"{self.name} unchanged"
        return f"✓ {title}{self._rest()}"

    def _rest(self) -> str:
        parts = [] if self.created else [f", v{self.version}"]
        parts.append(f" · app {self.app}")
        parts += [] if self.deployed else [" of this kernel (--app NAME deploys it)"]
        parts += [f" · warm {self.warm}"] if self.warm else []
        parts += [f" · captures {', '.join(self.captures)}"] if self.captures else []
        parts += [f" · not defined so far: {', '.join(self.undefined)}"] if self.undefined else []
        return "".join(parts)

    def html(self) -> str:
        """Return the summary as one row of HTML."""
        title = f"v{self.version}" if self.created else "unchanged"
        title = f"would be registered, {self.would_be_size}" if self.would_be_size else title
        return (
            '<div style="font-family:var(--jp-ui-font-family,sans-serif);'
            'font-size:var(--jp-ui-font-size1,13px);color:var(--jp-ui-font-color1,inherit)">'
            f"{mark_html('queued' if self.would_be_size else 'succeeded')} "
            f'<code style="background:none">{escape(self.name)}{escape(self.signature)}</code> '
            f'<b>{title}</b><span style="{MUTED}">'
            f"{escape(self._rest())}</span></div>"
        )


def bundle(cards: Iterable[Summary]) -> dict[str, Any]:
    """Return the summaries of one cell as a MIME bundle."""
    cards = list(cards)
    return {
        "text/plain": "\n".join(card.line() for card in cards),
        "text/html": "".join(card.html() for card in cards),
    }


def captures(found: Iterable[Captured], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return captured names as text: modules, functions with parentheses, values with sizes.

    Args:
        found: The result of `nbfn.serialization.function_pickling.report`.
        values: The values of the names.

    Returns:
        The names.
    """
    shown = [
        _shown(item, values)
        for item in found
        # The signature shows defaults; only large ones are listed.
        if item.kind != "default" or item.size > _HEAVY_DEFAULT
    ]
    if len(shown) > _MOST:
        shown[_MOST:] = [f"and {len(shown) - _MOST} more"]
    return tuple(shown)


def _shown(item: Captured, values: Mapping[str, Any]) -> str:
    if item.kind in ("module", "class", *HANDLES):
        return item.name
    if item.kind == "function":
        return f"{item.name}()"
    value = values.get(item.name, ...)
    plain = isinstance(value, bool | int | float | str) or value is None
    text = repr(value) if plain else ""
    named = f"{item.name}={text}" if text and len(text) <= _VALUE_WIDTH else item.name
    return f"{named} ({format_bytes(item.size)})"
