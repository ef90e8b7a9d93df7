"""A damaged or missing file of the store fails its own call with `DataLossError` (docs/guarantees.md, F28)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import nbfn
from nbfn.client.discovery import is_running
from nbfn.config import Places
from nbfn.exception import DataLossError
from tests.conftest import stop_hub, wait_until

#: More bytes than a message contains itself.
LARGE = 400_000

app = nbfn.App("damaged-files")


@app.function(serialized=True)
def repeat(letter: bytes) -> bytes:
    return letter * LARGE


@app.function(serialized=True)
def length(data: bytes, gate: Path) -> int:
    while not gate.exists():
        time.sleep(0.01)
    return len(data)


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    with file.open("rb+") as opened:
        opened.truncate(LARGE // 2)


def remove(file: Path) -> None:
    file.unlink()


DAMAGE = pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_bit, "is damaged: its checksum does not match"),
        (cut, "is damaged: .* shorter than"),
        (remove, "is missing"),
    ],
)


def stored_files() -> set[Path]:
    return set(Places.of().blobs.iterdir())


@DAMAGE
def test_a_result_is_never_wrong(home: Path, damage: Callable[[Path], None], reason: str) -> None:
    app.deploy()
    before = stored_files()
    lost = repeat.spawn(b"x")
    wait_until(lambda: lost.num_inputs() is not None and len(stored_files() - before) == 1)
    (file,) = stored_files() - before
    kept = repeat.spawn(b"y")
    assert kept.get(timeout=30) == b"y" * LARGE
    damage(file)
    with pytest.raises(DataLossError, match=rf"{file}.*{reason}"):
        nbfn.FunctionCall.from_id(lost.object_id).get(timeout=30)
    assert nbfn.FunctionCall.from_id(kept.object_id).get(timeout=30) == b"y" * LARGE


@DAMAGE
def test_arguments_are_never_wrong(
    home: Path, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    app.deploy()
    gate = tmp_path / "gate"
    busy = [length.spawn(b"", gate) for _ in range(64)]  # no worker is free for the next one
    before = stored_files()
    lost = length.spawn(b"z" * LARGE, gate)
    (file,) = stored_files() - before
    damage(file)
    gate.touch()
    with pytest.raises(DataLossError, match=rf"argument of 'length' is lost.*{file}.*{reason}"):
        lost.get(timeout=60)
    assert [call.get(timeout=60) for call in busy] == [0] * 64


@pytest.fixture
def code(home: Path) -> tuple[nbfn.App, Path]:
    """A deployed App whose Function `look_up` has its code in a file."""
    table = bytes(range(256)) * (LARGE // 256)

    def look_up(index: int) -> int:
        return table[index]

    made = nbfn.App("damaged-code")
    made.function(serialized=True, name="look_up")(look_up)
    deploy(made)
    (file,) = stored_files()
    return made, file


def deploy(made: nbfn.App) -> None:
    with pytest.warns(UserWarning, match="takes 0.4 MB along"):
        made.deploy()


@DAMAGE
def test_code_that_is_damaged_under_a_running_hub(
    code: tuple[nbfn.App, Path], damage: Callable[[Path], None], reason: str
) -> None:
    _, file = code
    damage(file)
    with pytest.raises(DataLossError, match=rf"code of 'look_up' is lost.*{file}.*{reason}"):
        nbfn.Function.from_name("damaged-code", "look_up").remote(7)


@DAMAGE
def test_code_that_is_damaged_can_be_deployed_again_after_a_restart(
    code: tuple[nbfn.App, Path], damage: Callable[[Path], None], reason: str
) -> None:
    made, file = code
    stop_hub(Places.of())
    wait_until(lambda: not is_running(Places.of()))
    damage(file)
    with pytest.raises(nbfn.exception.NotFoundError, match="Version 1 of 'look_up'.*Deploy it"):
        nbfn.Function.from_name("damaged-code", "look_up").remote(7)
    deploy(made)
    assert nbfn.Function.from_name("damaged-code", "look_up").remote(7) == 7


def test_large_values_in_shared_memory_are_as_before(home: Path) -> None:
    with app.run():
        assert repeat.remote(b"w") == b"w" * LARGE
