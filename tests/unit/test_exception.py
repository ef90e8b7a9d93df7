"""The tree of errors: as drawn, as coded, as Modal's."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from nbfn import exception
from nbfn.exception import Error


def _tree(kind: type[Error]) -> list[type[Error]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _tree(child))]


OURS = [kind for kind in _tree(Error) if kind.__module__ == "nbfn.exception"]


def test_the_drawing_is_the_tree() -> None:
    drawn = dict(re.findall(r"[└├] (\w+) +([a-z_]+)(?: {2}|$)", exception.__doc__ or "", re.M))
    of_the_cloud = {kind for kind in OURS if (kind.__doc__ or "").startswith("Modal's")}
    for alone in (exception.InputCancellation, exception.Detached):  # no `Error`
        assert drawn.pop(alone.__name__) == alone.code
    assert drawn == {kind.__name__: kind.code for kind in OURS if kind not in of_the_cloud}


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_of_its_own_and_comes_back_by_it(kind: type[Error]) -> None:
    assert [other for other in OURS if other.code == kind.code] == [kind]
    assert type(exception.from_fault(kind.code, "said")) is kind


def test_a_users_own_subclass_does_not_come_back_in_place_of_ours() -> None:
    class Mine(exception.NotFoundError):
        """Raised by somebody's program."""

    assert type(exception.from_fault(Mine.code, "said")) is exception.NotFoundError


def test_an_unknown_code_is_a_remote_error() -> None:
    assert type(exception.from_fault("of a later version", "x")) is exception.RemoteError


@pytest.mark.parametrize(("wait", "jitter"), [(0, 0), (-1, 0), (1, -1)])
def test_a_preemption_needs_a_time(wait: float, jitter: float) -> None:
    with pytest.raises(exception.InvalidError, match="more than 0 seconds"):
        exception.simulate_preemption(wait, jitter)


def test_outside_of_a_worker_a_preemption_is_an_interrupt() -> None:
    code = (
        "import nbfn.exception, time\n"
        "nbfn.exception.simulate_preemption(0.01)\n"
        "try: time.sleep(30)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MODAL_IS_REMOTE"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout == "interrupted\n"
