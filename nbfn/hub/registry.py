"""Names to definitions: Apps, Functions, their versions and variants. Pure: no clock, no I/O; what
must be kept is reported by the caller.

A deployed App is found by (environment, name); an ephemeral App belongs to one client and is found
by nobody else. A Function keeps its id as long as its App and name live; other bytes make a new
version of it. A variant (other options, other parameters of a class) is a Function of its own with
the versions of another, its base, each changed in the same way; no name leads to it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nbfn.hub.events import (
    DefinitionLike,
    VariantLike,
)
from nbfn.variant import applied

#: The environment of those who name none.
DEFAULT_ENVIRONMENT = "main"
#: Characters of a variant's name after its base's: names go into every overview.
LONGEST_SHOWN = 80


@dataclass(slots=True)
class FunctionRecord:
    """One Function: its names, its versions, its overridden pool settings."""

    id: str
    app: str
    app_id: str
    environment_name: str
    deployed: bool
    name: str
    owner: str = ""  # the client whose process an ephemeral App lives in
    versions: dict[int, DefinitionLike] = field(default_factory=dict)
    latest: int = 0
    overrides: dict[str, float] = field(default_factory=dict)
    base: str = ""  # of a variant: the id of the Function that it is one of
    variant: VariantLike = None  # of a variant: what it changes
    digest: str = ""  # of a variant: its identity
    shown: str = ""  # of a variant: what follows its base's name
    variants: dict[str, FunctionRecord] = field(default_factory=dict, repr=False)  # by digest

    @property
    def definition(self) -> DefinitionLike:
        """The newest version's definition."""
        return self.versions[self.latest]


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """One stored secret."""

    name: str
    environment_name: str
    values: Mapping[str, str] = field(repr=False)
    created: float = 0.0  # seconds since 1970


class Registry:
    """All Functions the hub knows.

    Args:
        new_id: Makes ids from a prefix; injected, so that the same events give the same ids in
            tests.
    """

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._new_id = new_id
        self.functions: dict[str, FunctionRecord] = {}
        self._by_name: dict[tuple[str, str], FunctionRecord] = {}  # (app id, function name)
        self._deployed: dict[tuple[str, str], str] = {}  # (environment, app name) -> app id

    def put(
        self,
        app: str,
        app_id: str,
        environment_name: str,
        definition: DefinitionLike,
        client: str,
    ) -> tuple[FunctionRecord, bool]:
        """Register a definition; return its Function and whether anything is new."""
        environment_name = environment_name or DEFAULT_ENVIRONMENT
        deployed = not app_id
        if deployed:
            app_id = self._deployed.setdefault((environment_name, app), self._new_id("ap"))
        record = self._by_name.get((app_id, definition.name))
        if record is None:
            record = FunctionRecord(
                id=self._new_id("fu"),
                app=app,
                app_id=app_id,
                environment_name=environment_name,
                deployed=deployed,
                name=definition.name,
                owner="" if deployed else client,
            )
            self.restore(record)
        if record.versions and record.definition.digest == definition.digest:
            return record, False
        record.latest += 1
        record.versions[record.latest] = definition
        for changed in (record, *record.variants.values()):
            changed.overrides.clear()  # a new version begins with the decorator's own settings
        for variant in record.variants.values():
            variant.latest = record.latest
            variant.versions[record.latest] = applied(variant.variant, definition)  # type: ignore[type-var]
        return record, True

    def bind(
        self, base: FunctionRecord, variant: VariantLike, digest: str, shown: str
    ) -> tuple[FunctionRecord, bool]:
        """Return a variant of a Function, made if need be, and whether it was."""
        if (known := base.variants.get(digest)) is not None:
            return known, False
        record = variant_of(base, self._new_id("fu"), variant, digest, shown)
        self.restore(record)
        return record, True

    def restore(self, record: FunctionRecord) -> None:
        """Take a record as it is, from the store or new; a variant comes after its base."""
        self.functions[record.id] = record
        if record.base:
            self.functions[record.base].variants[record.digest] = record
            return
        self._by_name[record.app_id, record.name] = record
        if record.deployed:
            self._deployed[record.environment_name, record.app] = record.app_id

    def find(self, app: str, name: str, environment_name: str = "") -> FunctionRecord | str:
        """Return a deployed Function, or the sentence that says what is there instead.

        An App's id serves as its name, also an ephemeral App's: Functions that call each other name
        each other so, and an id cannot be guessed.
        """
        if (app, name) in self._by_name:
            return self._by_name[app, name]
        environment_name = environment_name or DEFAULT_ENVIRONMENT
        where = (
            ""
            if environment_name == DEFAULT_ENVIRONMENT
            else f" (in the {environment_name!r} environment)"
        )
        app_id = self._deployed.get((environment_name, app))
        if app_id is None:
            apps = sorted(a for e, a in self._deployed if e == environment_name)
            return (
                f"No app {app!r} is deployed{where}{_instead(app, apps)}. "
                "Run its cell with %%remote, or deploy the app."
            )
        record = self._by_name.get((app_id, name))
        if record is None:
            names = sorted(n for a, n in self._by_name if a == app_id)
            return (
                f"Function {name!r} is not in app {app!r}{where}{_instead(name, names)}. "
                "Run its cell with %%remote, or deploy the app."
            )
        return record

    def forget(self, record: FunctionRecord) -> None:
        """Drop a Function and its variants, or a variant."""
        for variant in record.variants.values():
            self.functions.pop(variant.id, None)
        self.functions.pop(record.id, None)
        if record.base:
            self.functions[record.base].variants.pop(record.digest, None)
        else:
            self._by_name.pop((record.app_id, record.name), None)


def variant_of(
    base: FunctionRecord,
    id: str,  # noqa: A002 - its id
    variant: VariantLike,
    digest: str,
    shown: str,
) -> FunctionRecord:
    """Return the record of a variant: each version of its base, changed."""
    return FunctionRecord(
        id=id,
        app=base.app,
        app_id=base.app_id,
        environment_name=base.environment_name,
        deployed=base.deployed,
        name=base.name + shown[:LONGEST_SHOWN],
        owner=base.owner,
        versions={n: applied(variant, version) for n, version in base.versions.items()},  # type: ignore[type-var]
        latest=base.latest,
        base=base.id,
        variant=variant,
        digest=digest,
        shown=shown[:LONGEST_SHOWN],
    )


def _instead(name: str, known: list[str]) -> str:
    if not known:
        return " (there is none yet)"
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
    return f" (there are: {shown}{hint})"
