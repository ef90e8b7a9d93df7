"""The IPython extension: ``%load_ext nbfn`` installs magics and displays, ``%unload_ext nbfn`` removes them."""

from __future__ import annotations

import logging
from typing import Any

from nbfn.client import call_observer
from nbfn.client.calls import call_hints
from nbfn.config import Settings
from nbfn.jupyter import matplotlib_figures, thread_context, traceback_display
from nbfn.jupyter.cell_output import current_cell
from nbfn.jupyter.magics import completion
from nbfn.jupyter.magics.cell_magic import RemoteMagics
from nbfn.jupyter.magics.line_magics import LineMagics, one_line_errors
from nbfn.jupyter.magics.magic_context import MagicContext
from nbfn.jupyter.observer import NotebookObserver
from nbfn.jupyter.views import display_registry, restart_notice
from nbfn.jupyter.views.calls import call_sink
from nbfn.jupyter.views.cards import function_card
from nbfn.jupyter.views.maps import map_autostart

log = logging.getLogger("nbfn.client")


def load_ipython_extension(shell: Any) -> None:
    """Handle ``%load_ext nbfn``; loading again replaces what was installed before.

    Args:
        shell: The running `InteractiveShell`.
    """
    with one_line_errors():  # a setting may be invalid
        _load(shell)


def _load(shell: Any) -> None:
    unload_ipython_extension(shell)
    settings = Settings.load()
    observer = NotebookObserver(progress=settings.progress, notify=settings.notify)
    call_observer.set_observer(observer)
    cells = RemoteMagics(shell, observer)
    shell.register_magics(cells, LineMagics(shell, MagicContext(shell, cells.defaults, observer)))
    shell.events.register("post_run_cell", observer.finish_cell)
    call_sink.install(shell, observer)
    map_autostart.install(shell, observer)
    function_card.install(shell)
    completion.install(shell)
    traceback_display.install(shell)
    matplotlib_figures.install(shell)
    thread_context.install(lambda: current_cell(shell))
    shell._nbfn_observer = observer
    call_hints.magics = True
    display_registry.registry.install()
    restart_notice.show()


def unload_ipython_extension(shell: Any) -> None:
    """Handle ``%unload_ext nbfn``: remove magics and displays. Functions and handles keep working.

    Args:
        shell: The running `InteractiveShell`.
    """
    observer = shell.__dict__.pop("_nbfn_observer", None)
    if observer is None:
        return
    call_observer.set_observer(None)
    call_hints.magics = False
    thread_context.uninstall()
    for undo in (
        lambda: shell.events.unregister("post_run_cell", observer.finish_cell),
        lambda: call_sink.uninstall(shell),
        lambda: map_autostart.uninstall(shell),
        lambda: function_card.uninstall(shell),
        display_registry.registry.uninstall,
        lambda: completion.uninstall(shell),
        lambda: traceback_display.uninstall(shell),
        lambda: matplotlib_figures.uninstall(shell),
        lambda: _forget_magics(shell),
    ):
        try:
            undo()
        except (ValueError, AttributeError):  # other code has removed it
            log.debug("a part of nbfn was already unloaded", exc_info=True)


def _forget_magics(shell: Any) -> None:
    """Unregister nbfn's magics; IPython has no method for that."""
    for known in shell.magics_manager.magics.values():
        for name, magic in list(known.items()):
            if isinstance(getattr(magic, "__self__", None), LineMagics | RemoteMagics):
                del known[name]
