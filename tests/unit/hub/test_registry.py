"""Names to versions."""

from __future__ import annotations

import itertools

import pytest

from nbfn.hub.scheduler.registry import FunctionRecord, Registry
from tests.unit.hub.simulator import definition


@pytest.fixture
def registry() -> Registry:
    ids = itertools.count()
    return Registry(lambda prefix: f"{prefix}-{next(ids)}")


def put(
    registry: Registry, name: str = "f", digest: str = "1", app_id: str = "", app: str = "demo"
) -> FunctionRecord:
    return registry.put(app, app_id, "", definition(name, digest), "cl-1")[0]


def test_the_same_bytes_are_the_same_version(registry: Registry) -> None:
    first, created = registry.put("demo", "", "", definition(), "cl-1")
    again, recreated = registry.put("demo", "", "", definition(), "cl-2")
    assert (created, recreated) == (True, False)
    assert first is again
    assert first.latest == 1


def test_other_bytes_are_the_next_version_of_the_same_function(registry: Registry) -> None:
    first = put(registry, digest="1").id
    record = put(registry, digest="2")
    assert (record.id, record.latest, sorted(record.versions)) == (first, 2, [1, 2])


def test_a_new_version_drops_what_was_overridden(registry: Registry) -> None:
    put(registry).overrides["min_containers"] = 3
    assert put(registry, digest="2").overrides == {}


def test_only_deployed_apps_are_found_by_name(registry: Registry) -> None:
    put(registry, "private", app_id="ap-mine")
    assert "No app 'demo' is deployed" in str(registry.find("demo", "private"))
    deployed = put(registry, "public")
    assert registry.find("demo", "public") is deployed


def test_who_knows_an_apps_id_finds_its_functions(registry: Registry) -> None:
    private = put(registry, "private", app_id="ap-mine")
    assert registry.find("ap-mine", "private") is private


def test_an_ephemeral_app_of_the_same_name_is_another_one(registry: Registry) -> None:
    assert put(registry).id != put(registry, app_id="ap-mine").id


def test_environments_do_not_see_each_other(registry: Registry) -> None:
    assert "no environment 'staging'" in str(registry.find("demo", "f", "staging"))
    registry.environments["staging"] = 1.0
    registry.put("demo", "", "staging", definition(), "cl-1")
    assert isinstance(registry.find("demo", "f", "staging"), FunctionRecord)
    assert isinstance(registry.find("demo", "f"), str)


def test_what_is_not_there_is_told_with_what_is(registry: Registry) -> None:
    put(registry, "cube")
    put(registry, "mean")
    said = registry.find("demo", "square")
    assert said == (
        "Function 'square' is not in app 'demo' (there are: cube, mean). "
        "Run its cell with %%remote, or deploy the app."
    )
    assert "did you mean 'cube'?" in str(registry.find("demo", "cubes"))
    assert "did you mean 'demo'?" in str(registry.find("demos", "cube"))
