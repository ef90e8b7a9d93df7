"""A secret's values are in the store, readable by their owner only, and in workers; nowhere else."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import msgspec

import nbfn
from nbfn import Secret
from nbfn.client.client import Client
from nbfn.config import Places
from nbfn.protocol import messages
from nbfn.runtime.sync import run
from tests.conftest import processes_of, wait_until

STORED, INLINE, PLAIN = "hush-stored-4711", "hush-inline-4712", "hush-env-4713"
VALUES = (STORED, INLINE, PLAIN)


def leaks(text: bytes) -> list[str]:
    return [value for value in VALUES if value.encode() in text]


def test_values_are_shown_nowhere(home: Path) -> None:
    stored = Secret.objects.create("kept", {"STORED": STORED})
    app = nbfn.App("quiet-app", secrets=[stored])

    @app.function(secrets=[Secret.from_dict({"INLINE": INLINE})], env={"PLAIN": PLAIN})
    def lengths(fail: bool = False) -> list[int]:
        if fail:
            raise ValueError("no value in here")
        return [len(os.environ[name]) for name in ("STORED", "INLINE", "PLAIN")]

    app.deploy()
    assert lengths.remote() == [len(value) for value in VALUES]  # they are there, where they belong
    lengths.spawn(fail=True)
    client = Client.attach()
    wait_until(lambda: any(row.state == "failed" for row in client.overview().calls))

    overview = msgspec.json.encode(
        client.overview()
    )  # all that the sidebar and the CLI are made of
    assert b"lengths" in overview
    assert leaks(overview) == []
    found = nbfn.Function.from_name("quiet-app", "lengths").hydrate()
    assert leaks(msgspec.json.encode(found._ref.state.info)) == []  # type: ignore[union-attr]
    asked = functools.partial(messages.GetDefinition, function=found.object_id)
    assert leaks(msgspec.json.encode(run(client.request(asked)))) == []
    assert leaks(repr((app, lengths, found, stored, Secret.objects.list())).encode()) == []

    places = Places.of()
    commands = "\n".join(processes_of(home).values()).encode()
    assert b"nbfn" in commands
    assert leaks(commands) == []
    logs = b"".join(path.read_bytes() for path in places.logs.iterdir())
    assert b"nbfn hub" in logs
    assert leaks(logs) == []


def test_the_store_that_has_them_is_its_owners_alone(home: Path) -> None:
    Secret.objects.create("kept", {"STORED": STORED})
    holders = [
        path
        for path in home.rglob("*")
        if path.is_file() and not path.is_symlink() and leaks(path.read_bytes())
    ]
    assert holders
    assert all(path.name.startswith("nbfn.db") for path in holders), holders
    assert all(path.stat().st_mode & 0o077 == 0 for path in holders)


def test_a_client_learns_names_and_never_values(home: Path) -> None:
    Secret.objects.create("kept", {"STORED": STORED})
    row = Secret.from_name("kept").info()
    assert row.keys == ("STORED",)
    fields = {field.name for field in msgspec.structs.fields(messages.SecretRow)}
    assert fields == {"name", "environment_name", "created", "keys"}
    told = {kind for kind in messages.TO_CLIENT if "values" in kind.__struct_fields__}
    assert told == set()
