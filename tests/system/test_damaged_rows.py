"""A row of the database that cannot be read fails its own call, and nothing else (docs/guarantees.md, F28)."""

from __future__ import annotations

import contextlib
import pickle
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbfn
from nbfn.client.discovery import is_running
from nbfn.config import Places
from nbfn.exception import DataLossError, NotFoundError
from tests.conftest import stop_hub, wait_until

app = nbfn.App("damaged")


@app.function(serialized=True)
def same(number: int) -> int:
    return number


@app.function(serialized=True)
def after(gate: Path, number: int) -> int:
    while not gate.exists():
        time.sleep(0.01)
    return number


@contextlib.contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the database of a hub that is stopped; the next one reads what is changed."""
    stop_hub(Places.of())
    wait_until(lambda: not is_running(Places.of()))
    connection = sqlite3.connect(Places.of().database)
    with connection:
        yield connection
    connection.close()


def by_id(call: nbfn.FunctionCall[int]) -> nbfn.FunctionCall[int]:
    return nbfn.FunctionCall.from_id(call.object_id)


@pytest.fixture
def calls(home: Path, tmp_path: Path) -> tuple[list[nbfn.FunctionCall[int]], Path]:
    """One call that has ended and two that run."""
    app.deploy()
    gate = tmp_path / "gate"
    done, *running = [same.spawn(1), after.spawn(gate, 2), after.spawn(gate, 3)]
    assert done.get(timeout=30) == 1
    return [done, *running], gate


def works() -> bool:
    """Whether calls of all kinds still work."""
    named = nbfn.Function.from_name("damaged", "same")
    assert named.remote(7) == 7
    assert named.spawn(8).get(timeout=20) == 8
    return list(named.map(range(5))) == list(range(5))


def test_an_outcome_that_cannot_be_read(
    calls: tuple[list[nbfn.FunctionCall[int]], Path],
) -> None:
    (done, one, other), gate = calls
    with database() as stored:
        stored.execute("UPDATE outcomes SET outcome = x'ff' WHERE call = ?", (done.object_id,))
    gate.touch()
    with pytest.raises(DataLossError, match=f"outcome of input 0 of call {done.object_id} cannot"):
        by_id(done).get(timeout=20)
    assert by_id(done).get_call_graph()
    assert [by_id(call).get(timeout=20) for call in (one, other)] == [2, 3]
    assert works()


def test_a_changed_bit_of_a_result_is_noticed(
    calls: tuple[list[nbfn.FunctionCall[int]], Path],
) -> None:
    (done, *_), gate = calls
    with database() as stored:
        where = (done.object_id,)
        (row,) = stored.execute("SELECT outcome FROM outcomes WHERE call = ?", where).fetchone()
        one = row.index(
            pickle.dumps(1, protocol=5)[2:]
        )  # the result, without the header of the pickle
        changed = bytearray(row)
        changed[one + 1] ^= 0x40
        assert pickle.loads(b"\x80\x05" + changed[one : one + 3]) == 0x41
        stored.execute("UPDATE outcomes SET outcome = ? WHERE call = ?", (bytes(changed), *where))
    gate.touch()
    with pytest.raises(DataLossError, match=f"outcome of input 0 of call {done.object_id} cannot"):
        by_id(done).get(timeout=20)
    assert works()


def test_arguments_that_cannot_be_read(calls: tuple[list[nbfn.FunctionCall[int]], Path]) -> None:
    (done, one, other), gate = calls
    with database() as stored:
        stored.execute("UPDATE inputs SET payload = x'ff' WHERE call = ?", (one.object_id,))
    gate.touch()
    with pytest.raises(DataLossError, match=f"arguments of this input of call {one.object_id}"):
        by_id(one).get(timeout=20)
    assert by_id(done).get(timeout=20) == 1
    assert by_id(other).get(timeout=20) == 3
    assert works()


@pytest.mark.parametrize("column", ["kind", "version", "function"])
def test_a_call_that_cannot_be_read(
    calls: tuple[list[nbfn.FunctionCall[int]], Path], column: str
) -> None:
    (done, one, other), gate = calls
    with database() as stored:
        stored.execute(f"UPDATE calls SET {column} = x'ff' WHERE id = ?", (one.object_id,))
    gate.touch()
    with pytest.raises(DataLossError, match="cannot be read"):
        by_id(one).get(timeout=20)
    assert [by_id(call).get(timeout=20) for call in (done, other)] == [1, 3]
    assert works()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE versions SET definition = x'ff' WHERE function = ?",
        "UPDATE functions SET record = x'ff' WHERE id = ?",
        "UPDATE calls SET function = 'fu-none' WHERE function = ?",
    ],
)
def test_a_definition_that_cannot_be_read(
    calls: tuple[list[nbfn.FunctionCall[int]], Path], damage: str
) -> None:
    (done, one, _), gate = calls
    with database() as stored:
        stored.execute(damage, (after.object_id,))
    gate.touch()
    with pytest.raises(DataLossError, match="The function of call fc-.* cannot be read"):
        by_id(one).get(timeout=20)
    assert by_id(done).get(timeout=20) == 1
    assert works()
    app.deploy()
    assert nbfn.Function.from_name("damaged", "after").remote(gate, 5) == 5


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE apps SET record = x'ff'",
        "UPDATE deployments SET deployment = x'ff'",
        "INSERT INTO overrides SELECT id, x'ff' FROM functions",
        "INSERT INTO secrets VALUES ('main', 'mine', x'ff', 1.0)",
        "INSERT INTO variants SELECT 'fu-variant', id, x'ff', 'd', '' FROM functions LIMIT 1",
    ],
)
def test_what_else_cannot_be_read_is_left_out(
    calls: tuple[list[nbfn.FunctionCall[int]], Path], damage: str
) -> None:
    stored_calls, gate = calls
    with database() as stored:
        stored.execute(damage)
    gate.touch()
    assert [by_id(call).get(timeout=20) for call in stored_calls] == [1, 2, 3]
    assert works()
    assert "cannot be read from the store and is skipped" in Places.of().hub_log.read_text()
    with pytest.raises(NotFoundError):
        nbfn.Secret.from_name("mine").hydrate()
