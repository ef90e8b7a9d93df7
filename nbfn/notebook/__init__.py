"""nbfn in IPython: ``%load_ext nbfn``, ``%%remote``, output under the right cell, progress of maps.

IPython, ipywidgets and anywidget are known here and nowhere else in nbfn.
"""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("nbfn.client")


def load(shell: Any) -> None:
    """Set nbfn up in an IPython shell; a second time replaces the first.

    Args:
        shell: The running `InteractiveShell`.
    """
    from nbfn.config import Settings
    from nbfn.connection import observe
    from nbfn.invocation import call_hints
    from nbfn.notebook import figures, frames, restart, threads
    from nbfn.notebook.calls import handle
    from nbfn.notebook.cards import card
    from nbfn.notebook.display import cell_now
    from nbfn.notebook.lines import completion
    from nbfn.notebook.lines.desk import Desk
    from nbfn.notebook.lines.magics import LineMagics
    from nbfn.notebook.magics import RemoteMagics
    from nbfn.notebook.maps import unconsumed
    from nbfn.notebook.progress import NotebookObserver

    unload(shell)
    observer = NotebookObserver(progress=Settings.load().progress)
    observe.set_observer(observer)
    cells = RemoteMagics(shell, observer)
    shell.register_magics(cells, LineMagics(shell, Desk(shell, cells.defaults, observer)))
    shell.events.register("post_run_cell", observer.settle)
    handle.install(shell, observer)
    unconsumed.install(shell, observer)
    card.install(shell)
    completion.install(shell)
    frames.install(shell)
    figures.install(shell)
    threads.install(lambda: cell_now(shell))
    shell._nbfn_observer = observer
    call_hints.magics = True
    restart.tell()


def unload(shell: Any) -> None:
    """Take out of an IPython shell what `load` put in, the magics too; Functions and handles work on."""
    observer = shell.__dict__.pop("_nbfn_observer", None)
    if observer is None:
        return
    from nbfn.connection import observe
    from nbfn.invocation import call_hints
    from nbfn.notebook import figures, frames, threads
    from nbfn.notebook.calls import handle
    from nbfn.notebook.cards import card
    from nbfn.notebook.lines import completion
    from nbfn.notebook.maps import unconsumed

    observe.set_observer(None)
    call_hints.magics = False
    threads.uninstall()
    for undo in (
        lambda: shell.events.unregister("post_run_cell", observer.settle),
        lambda: handle.uninstall(shell),
        lambda: unconsumed.uninstall(shell),
        lambda: card.uninstall(shell),
        lambda: completion.uninstall(shell),
        lambda: frames.uninstall(shell),
        lambda: figures.uninstall(shell),
        lambda: _forget_magics(shell),
    ):
        try:
            undo()
        except (ValueError, AttributeError):  # somebody else removed it already
            log.debug("nbfn was partly unloaded before", exc_info=True)


def _forget_magics(shell: Any) -> None:
    """Have the shell not know nbfn's magics; IPython itself has no word for that."""
    from nbfn.notebook.lines.magics import LineMagics
    from nbfn.notebook.magics import RemoteMagics

    for known in shell.magics_manager.magics.values():
        for name, magic in list(known.items()):
            if isinstance(getattr(magic, "__self__", None), LineMagics | RemoteMagics):
                del known[name]
