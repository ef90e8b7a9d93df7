"""What is on disk is there again, in order and once."""

from __future__ import annotations

import dataclasses
import itertools
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nbfn.exception import VersionError
from nbfn.hub import writer
from nbfn.hub.disk_space import Disk
from nbfn.hub.query_results import StoredCall
from nbfn.hub.scheduler import effects as fx
from nbfn.hub.scheduler import events as e
from nbfn.hub.scheduler.app_records import HISTORY_KEPT, AppRecord, Deployment
from nbfn.hub.scheduler.registry import Registry, SecretRecord
from nbfn.hub.store import Store
from nbfn.protocol import messages as m
from nbfn.protocol.call_states import InputCounts
from nbfn.protocol.messages import Payload, Segment, Variant
from nbfn.types import InputStatus
from tests.conftest import wait_until
from tests.unit.hub.simulator import definition, inputs_of, sends, sent

WEEK = 7 * 86400.0


class Opened:
    """A store at work."""

    def __init__(self, path: Path, retention: float = WEEK) -> None:
        (path / "blobs").mkdir(exist_ok=True)
        self.store = Store(path / "nbfn.db", path / "blobs", retention)
        self.functions = self.store.load_functions()
        self.apps = self.store.load_apps()
        self.environments = self.store.load_environments()
        self.unfinished = self.store.load_unfinished()
        self._done = threading.Event()
        self.store.start(self._done.set)

    def save(self, *saves: fx.Effect, then: tuple[fx.Effect, ...] = ()) -> list[object]:
        self._done.clear()
        self.store.submit(saves, then)
        assert self._done.wait(10)
        return list(self.store.finished())


def call(name: str = "fc-1", count: int = 3) -> fx.SaveCall:
    return fx.SaveCall(
        name, "fu-1", 1, "spawn", inputs_of((n, Payload(b"in %d" % n)) for n in range(count))
    )


def accepted(name: str) -> fx.Send:
    return fx.Send("cl-1", m.Accepted(name), after_commit=True)


def outcome(index: int, status: InputStatus = InputStatus.SUCCESS) -> m.Output:
    return m.Output(index, int(status), Payload(b"out"), None, 0.5, "wk-1", 2)


def watch(opened: Opened, name: str = "fc-1") -> StoredCall:
    (found,) = opened.save(fx.LoadCall("cl-1", 1, name))
    assert isinstance(found, StoredCall)
    return found


def test_words_that_wait_for_the_disk_come_after_it_and_in_order(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    words = tuple(accepted(f"fc-{n}") for n in range(5))
    assert opened.save(call(), then=words) == list(words)
    reader = sqlite3.connect(f"file:{tmp_path / 'nbfn.db'}?mode=ro", uri=True, timeout=0.1)
    with pytest.raises(sqlite3.OperationalError):  # held exclusively
        reader.execute("SELECT * FROM calls")
    reader.close()
    opened.store.close()


def test_functions_versions_and_overrides_come_back(tmp_path: Path) -> None:
    registry = Registry(lambda prefix: f"{prefix}-1")
    record, _ = registry.put("demo", "", "", definition(), "cl-1")
    opened = Opened(tmp_path)
    opened.save(fx.SaveFunction(record, 1))
    registry.put("demo", "", "", definition(digest="2"), "cl-1")
    opened.save(fx.SaveFunction(record, 2), fx.SaveSettings(record.id, {"min_containers": 2}))
    opened.store.close()
    record.overrides = {"min_containers": 2}
    again = Opened(tmp_path)
    assert again.functions == [record]
    again.store.close()


def test_variants_come_back_with_the_versions_of_their_base(tmp_path: Path) -> None:
    ids = itertools.count()
    registry = Registry(lambda prefix: f"{prefix}-{next(ids)}")
    record, _ = registry.put("demo", "", "", definition(), "cl-1")
    variant, _ = registry.bind(record, Variant(timeout=3.0, arguments=Payload(b"x")), "v", "(x=1)")
    opened = Opened(tmp_path)
    opened.save(fx.SaveFunction(record, 1), fx.SaveVariant(variant))
    opened.save(fx.SaveSettings(variant.id, {"min_containers": 2}))
    registry.put("demo", "", "", definition(digest="2"), "cl-1")
    opened.save(fx.SaveFunction(record, 2))  # what was overridden goes, for variants too
    opened.store.close()
    again = Opened(tmp_path)
    restored = Registry(lambda _: "never")
    for found in again.functions:
        restored.restore(found)
    assert restored.functions == {record.id: record, variant.id: variant}
    assert restored.functions[record.id].variants == {"v": variant}
    assert variant.versions[2].timeout == 3.0
    again.store.close()


def test_a_call_comes_back_with_what_it_still_has_to_do(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.save(call(), fx.SaveOutcomes("fc-1", [outcome(1), outcome(2, InputStatus.FAILURE)]))
    opened.store.close()
    again = Opened(tmp_path)
    (found,) = again.unfinished
    assert 0 <= found.age < 60
    settled = InputCounts(2, succeeded=1, failed=1)
    assert dataclasses.replace(found, age=0.0) == e.CallRestored(
        "fc-1", "fu-1", 1, "spawn", [(0, Payload(b"in 0"))], 3, settled
    )
    stored = watch(again)
    assert [o.index for o in stored.outcomes] == [1, 2]
    assert stored.outcomes[0] == outcome(1)
    again.store.close()


def test_what_a_call_comes_from_and_the_arguments_of_its_failures_are_kept(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    inputs = [(n, Payload(b"in %d" % n)) for n in range(4)]
    ended = [outcome(1), outcome(2, InputStatus.FAILURE), outcome(3, InputStatus.TERMINATED)]
    made = fx.SaveCall("fc-1", "fu-1", 1, "spawn", inputs_of(inputs), origin="mine.ipynb")
    opened.save(made, fx.SaveOutcomes("fc-1", ended))
    opened.store.close()
    again = Opened(tmp_path)
    assert again.unfinished[0].origin == "mine.ipynb"
    loads = [fx.LoadInput("cl-1", n, "fc-1", n) for n in range(4)]
    found = again.save(*loads, fx.LoadInput("cl-1", 9, "fc-2", 0))
    assert [stored.payload for stored in found] == [  # type: ignore[attr-defined]
        Payload(b"in 0"), None, Payload(b"in 2"), Payload(b"in 3"), None,
    ]  # fmt: skip
    assert [stored.function for stored in found] == [*["fu-1"] * 4, ""]  # type: ignore[attr-defined]
    again.store.close()


def test_failed_inputs_wait_again_after_a_retry_and_their_outcomes_are_gone(
    tmp_path: Path,
) -> None:
    opened = Opened(tmp_path)
    ended = [outcome(0), outcome(1, InputStatus.FAILURE), outcome(2, InputStatus.TERMINATED)]
    opened.save(call(), fx.SaveOutcomes("fc-1", ended), fx.SaveCancelled("fc-1"))
    wanted = fx.LoadFailures("cl-1", 7, "fc-1", "re-1")
    (found,) = opened.save(wanted)
    assert isinstance(found, e.FailuresLoaded)
    assert found.found is not None
    assert found.found.inputs == [(1, Payload(b"in 1")), (2, Payload(b"in 2"))]
    assert (found.found.settled, found.expired) == (InputCounts(1, succeeded=1), False)
    opened.save(fx.SaveRetry("fc-1", 4, [1, 2], "re-1"))
    opened.store.close()
    again = Opened(tmp_path)
    (restored,) = again.unfinished
    assert (restored.version, restored.inputs) == (4, found.found.inputs)
    assert (restored.cancelled, restored.retried) == (False, ("re-1", 2))
    assert [o.index for o in watch(again).outcomes] == [0]
    again.save(fx.SaveOutcomes("fc-1", [outcome(1), outcome(2)]))
    stored = watch(again)
    assert ([o.index for o in stored.outcomes], stored.ended) == ([0, 1, 2], True)
    (nothing,) = again.save(wanted)
    assert isinstance(nothing, e.FailuresLoaded)
    assert nothing.found is not None
    assert not nothing.found.inputs
    again.store.close()


def test_what_a_retry_replaces_leaves_nothing_beside_the_database(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    files = {name: tmp_path / "blobs" / name for name in ("in", "out")}
    for path in files.values():
        path.write_bytes(b"large")
    kept = {name: Payload(b"", (Segment("blob", name, 5),)) for name in files}
    opened.save(fx.SaveCall("fc-1", "fu-1", 1, "spawn", inputs_of([(0, kept["in"])])))
    opened.save(fx.SaveOutcomes("fc-1", [m.Output(0, int(InputStatus.FAILURE), kept["out"], None)]))
    assert all(path.exists() for path in files.values())
    opened.save(fx.SaveRetry("fc-1", 1, [0], "re-1"))
    assert [name for name, path in files.items() if path.exists()] == ["in"]
    opened.save(fx.SaveOutcomes("fc-1", [outcome(0)]))
    assert not files["in"].exists()
    opened.store.close()


def test_an_outcome_is_recorded_once(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.save(call(), fx.SaveOutcomes("fc-1", [outcome(0)]))
    opened.save(fx.SaveOutcomes("fc-1", [outcome(0, InputStatus.FAILURE)]))
    assert [o.status for o in watch(opened).outcomes] == [InputStatus.SUCCESS]
    opened.store.close()


def test_an_unknown_call_is_told_as_such(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    assert watch(opened, "fc-unknown").function == ""
    opened.store.close()


def test_calls_over_their_retention_go_unless_they_still_run(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.save(call("fc-done", 1), fx.SaveOutcomes("fc-done", [outcome(0)]), call("fc-waits", 1))
    opened.store.close()
    again = Opened(tmp_path, retention=-1.0)
    expired = watch(again, "fc-done")
    assert (expired.ended, expired.expired, expired.outcomes) == (True, True, [])
    assert watch(again, "fc-waits").function == "fu-1"
    again.store.close()


def test_a_later_database_is_refused_in_a_sentence(tmp_path: Path) -> None:
    Opened(tmp_path).store.close()
    with sqlite3.connect(tmp_path / "nbfn.db") as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(
        VersionError, match=r"written by a later nbfn \(schema 99, .*Upgrade nbfn here"
    ):
        Store(tmp_path / "nbfn.db", tmp_path, WEEK)


def test_a_disk_that_refuses_for_a_while_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(tmp_path)
    refusals = iter([sqlite3.OperationalError("database or disk is full")] * 2)
    save = opened.store._save

    def full_twice(*args: object) -> None:
        for refusal in refusals:
            raise refusal
        save(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(opened.store, "_save", full_twice)
    word = accepted("fc-1")
    assert opened.save(call(), then=(word,)) == [word]
    assert watch(opened).total == 3
    opened.store.close()


def test_secrets_come_back_until_they_are_deleted(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.save(fx.SaveSecret("s", "main", {"A": "1"}, 5.0), fx.SaveSecret("t", "main", {}, 6.0))
    opened.save(fx.SaveSecret("s", "main", {"A": "2"}, 7.0), fx.SaveSecret("t", "main", None))
    opened.store.close()
    again = Opened(tmp_path)
    assert again.store.load_secrets() == [SecretRecord("s", "main", {"A": "2"}, 7.0)]
    again.store.close()


def test_the_file_is_private(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    assert (tmp_path / "nbfn.db").stat().st_mode & 0o077 == 0
    opened.store.close()


def test_apps_their_deployments_and_environments_come_back(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    app = AppRecord("ap-1", "demo", "lab", True, tags={"team": "a"}, created=1.0, version=2)
    made = [Deployment(n, float(n), by="ada", functions={"f": n}) for n in (1, 2)]
    opened.save(*(fx.SaveApp(app, one) for one in made), fx.SaveEnvironments({"lab": 3.0}))
    opened.store.close()
    again = Opened(tmp_path)
    app.deployments = {one.version: one for one in made}
    assert again.apps == [app]
    assert again.environments == {"lab": 3.0}
    again.store.close()


def test_of_an_app_the_last_deployments_are_kept(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    app = AppRecord("ap-1", "demo", "main", True)
    opened.save(*(fx.SaveApp(app, Deployment(n, 0.0)) for n in range(1, HISTORY_KEPT + 4)))
    opened.store.close()
    again = Opened(tmp_path)
    assert sorted(again.apps[0].deployments) == list(range(4, HISTORY_KEPT + 4))
    again.store.close()


def test_a_forgotten_app_takes_its_functions_along(tmp_path: Path) -> None:
    registry = Registry(lambda prefix: f"{prefix}-1")
    record, _ = registry.put("demo", "", "", definition(), "cl-1")
    opened = Opened(tmp_path)
    opened.save(fx.SaveApp(registry.apps["ap-1"]), fx.SaveFunction(record, 1))
    opened.save(fx.ForgetApp("ap-1", [record.id]))
    opened.store.close()
    again = Opened(tmp_path)
    assert (again.apps, again.functions) == ([], [])
    again.store.close()


def test_what_is_staged_or_removed_comes_back_as_that(tmp_path: Path) -> None:
    registry = Registry(lambda prefix: f"{prefix}-1")
    record, _, _ = registry.stage("demo", "", "", definition(), "cl-1")
    opened = Opened(tmp_path)
    opened.save(fx.SaveFunction(record, 1, 0))
    opened.store.close()
    staged = Opened(tmp_path)
    assert (staged.functions[0].latest, staged.functions[0].live) == (0, False)
    staged.save(fx.SaveFunction(record, 1, removed=True))
    staged.store.close()
    again = Opened(tmp_path)
    assert (again.functions[0].latest, again.functions[0].live) == (1, False)
    again.store.close()


def test_a_change_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    too_large = fx.SaveCall("fc-bad", "fu-1", 1, "spawn", inputs_of([(2**63, Payload(b"x"))]))
    opened.store.submit([call("fc-1")], [accepted("fc-1")])
    opened.store.submit([too_large], [accepted("fc-bad")])
    opened.store.submit(
        [fx.SaveSecret("s", "main", {"A": 2**70}, 0.0)],  # type: ignore[dict-item]
        [fx.Send("cl-1", m.Done(7), after_commit=True)],
    )
    told = opened.save(call("fc-2"), then=(accepted("fc-2"),))
    wait_until(lambda: told.extend(opened.store.finished()) or len(told) >= 6)
    assert [x.call for x in sent(told, m.Accepted)] == ["fc-1", "fc-2"]
    failed = [x for x in told if isinstance(x, e.SaveFailed)]
    assert [type(x.save) for x in failed] == [fx.SaveCall, fx.SaveSecret]
    (refused,) = sent(told, m.CallRefused)
    assert [x.to for x in sends(told, m.CallRefused)] == ["cl-1"]
    assert refused.call == "fc-bad"
    assert refused.message.startswith("This cannot be stored (OverflowError: ")
    (answer,) = sent(told, m.Failed)
    assert [x.to for x in sends(told, m.Failed)] == ["cl-1"]
    assert answer.request == 7
    opened.store.close()
    again = Opened(tmp_path)
    assert [found.call for found in again.unfinished] == ["fc-1", "fc-2"]
    again.store.close()


def test_an_outcome_that_cannot_be_written_is_replaced_and_the_others_are_kept(
    tmp_path: Path,
) -> None:
    opened = Opened(tmp_path)
    opened.save(call())
    bad = m.Output(1, 1, Payload(b""), None, worker="\ud800")
    ended = [outcome(0), bad, outcome(2)]
    told = opened.save(
        fx.SaveOutcomes("fc-1", ended),
        then=(fx.Send("cl-1", m.Outputs("fc-1", tuple(ended)), after_commit=True),),
    )
    (delivered,) = sent(told, m.Outputs)
    stored = watch(opened).outcomes
    assert list(delivered.outputs) == list(stored)
    assert stored[0] == outcome(0)
    assert stored[2] == outcome(2)
    assert (stored[1].status, stored[1].fault.code) == (InputStatus.INTERNAL_FAILURE, "data_loss")  # type: ignore[union-attr]
    opened.store.close()


class Failing:
    """A store whose disk takes nothing until it is told to."""

    def __init__(self, opened: Opened, patch: pytest.MonkeyPatch) -> None:
        self.full = True
        self.opened = opened
        self.told: list[Any] = []
        save = opened.store._save

        def refuse(*args: Any) -> None:
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            save(*args)

        patch.setattr(opened.store, "_save", refuse)

    def wait_for(self, *kinds: type) -> list[Any]:
        """Return what was told of these kinds, as soon as there is something."""

        def found() -> list[Any]:
            self.told += self.opened.store.finished()
            words = (x.message if isinstance(x, fx.Send) else x for x in self.told)
            return [word for word in words if isinstance(word, kinds)]

        wait_until(found)
        return found()


def test_while_the_disk_takes_nothing_new_calls_are_refused_and_the_rest_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(tmp_path)
    opened.save(call("fc-old", 2))
    monkeypatch.setattr(writer, "PATIENCE", 1.0)
    disk = Failing(opened, monkeypatch)
    word, asked = accepted("fc-new"), fx.Send("cl-1", m.Done(3), after_commit=True)
    opened.store.submit([call("fc-new")], [word])
    opened.store.submit([fx.SaveSecret("s", "main", {"A": "1"}, 5.0)], [asked])
    ended = [outcome(0)]
    opened.store.submit(
        [fx.SaveOutcomes("fc-old", ended)],
        [
            fx.Send("cl-1", m.Outputs("fc-old", tuple(ended))),
            fx.Send("wk-1", m.Confirm(5), after_commit=True),
        ],
    )
    (refused,) = disk.wait_for(m.CallRefused)
    assert (refused.call, refused.code) == ("fc-new", "resource_exhausted")
    assert f"The hub cannot write to {tmp_path} (database or disk is full)" in refused.message
    (answered,) = disk.wait_for(m.Failed)
    assert (answered.request, answered.code) == (3, "resource_exhausted")
    assert disk.wait_for(m.Outputs)
    assert opened.store.room().trouble
    opened.store.submit([fx.LoadCall("cl-1", 4, "fc-old")], [])
    (found,) = disk.wait_for(StoredCall)
    assert found.outcomes == ended, "what waits to be written is told, too"
    assert not sent(disk.told, m.Confirm, m.Accepted)
    disk.full = False
    assert disk.wait_for(m.Confirm)
    assert not opened.store.room().trouble
    opened.store.close()
    again = Opened(tmp_path)
    assert [found.call for found in again.unfinished] == ["fc-old"]
    assert again.store.load_secrets() == [SecretRecord("s", "main", {"A": "1"}, 5.0)]
    again.store.close()


def test_a_store_that_cannot_write_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(tmp_path)
    opened.save(call("fc-old", 1))
    disk = Failing(opened, monkeypatch)
    opened.store.submit([call("fc-new")], [accepted("fc-new")])
    opened.store.submit([fx.SaveOutcomes("fc-old", [outcome(0)])], [])
    wait_until(lambda: opened.store.room().trouble)
    begun = time.monotonic()
    opened.store.close()
    assert time.monotonic() - begun < 5
    disk.full = False
    again = Opened(tmp_path)
    assert [found.call for found in again.unfinished] == ["fc-old"], "it runs again"
    again.store.close()


def test_the_ballast_is_there_while_there_is_room_and_given_up_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(tmp_path, 8 * 2**20)
    disk.keep_ballast()
    assert (tmp_path / "ballast").stat().st_size == 2 * 2**20
    again = Disk(tmp_path, 8 * 2**20)  # of the next hub
    assert again.drop_ballast()
    assert not again.drop_ballast()
    assert not (tmp_path / "ballast").exists()
    monkeypatch.setattr(Disk, "free", lambda _: 9 * 2**20)
    disk = Disk(tmp_path, 8 * 2**20)
    disk.keep_ballast()
    assert not (tmp_path / "ballast").exists(), "the reserve has no room for it"
