"""A Function's card while other processes change its pool."""

from __future__ import annotations

from typing import Any, cast

import nbfn
from nbfn.client.client import Client
from nbfn.jupyter.cell_output import OutputArea
from nbfn.jupyter.views.cards.function_card import CardDisplay
from tests.conftest import wait_until


class Widget:
    """Keeps what a page is shown."""

    def __init__(self) -> None:
        self.views: list[dict[str, Any]] = []

    def show(self, view: dict[str, Any]) -> None:
        self.views.append(view)


def test_a_card_follows_its_pool_and_its_stepper_counts_from_the_real_number() -> None:
    app = nbfn.App("followed")

    @app.function(serialized=True)
    def idle(x: int) -> int:
        return x

    app.deploy()
    card = CardDisplay(idle, OutputArea(), {})
    card._widget = widget = cast("Any", Widget())
    card._follow()
    client = Client.attach()
    client.set_autoscaler(card.function_id, min_containers=2)
    wait_until(lambda: widget.views and widget.views[-1]["warm"] == 2)
    assert "warm 2 · " in widget.views[-1]["pool"]
    client.set_autoscaler(card.function_id, min_containers=3)
    card._warm(1)  # before the change was shown
    assert card.card.warm == 4
    card._warm(-9)
    assert card.card.warm == 0
