"""The Jupyter Server half of the sidebar: a client of the hub like any other.

It knows Jupyter Server and `nbfn.client`; it starts a hub only when somebody asks it to.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

__version__ = version("nbfn")


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from .extension import NbfnApp

    return [{"module": "nbfn.lab", "app": NbfnApp}]
