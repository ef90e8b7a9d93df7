"""Names to definitions: environments, Apps, Functions, their versions and variants. Pure: no clock, no
I/O; what must be kept is reported by the caller.

A deployed App is found by (environment, name); an ephemeral App belongs to one client and is found
by nobody else. A Function keeps its id as long as its App and name live; other bytes make a new
version of it. A version is *staged* until a deployment makes it current. A variant (other options,
other parameters of a class) is a Function of its own with the versions of another, its base, each
changed in the same way; no name leads to it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nbfn.declarations.overrides import apply_overrides
from nbfn.hub.scheduler.app_records import AppRecord
from nbfn.protocol.messages import Definition, Variant

#: The environment of those who name none.
DEFAULT_ENVIRONMENT = "main"
#: Stopped Apps that are remembered.
STOPPED_KEPT = 200
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
    versions: dict[int, Definition] = field(default_factory=dict)
    latest: int = 0  # the current one; 0 while none was deployed
    overrides: dict[str, float] = field(default_factory=dict)
    #: Versions that are in the store and cannot be read from there.
    unreadable: set[int] = field(default_factory=set)
    removed: bool = False  # the newest deployment of its App is without it
    base: str = ""  # of a variant: the id of the Function that it is one of
    variant: Variant | None = None  # of a variant: what it changes
    digest: str = ""  # of a variant: its identity
    shown: str = ""  # of a variant: what follows its base's name
    variants: dict[str, FunctionRecord] = field(default_factory=dict, repr=False)  # by digest

    @property
    def definition(self) -> Definition:
        """The current version's definition; of a Function without one, the newest."""
        return self.versions.get(self.latest) or self.versions[max(self.versions)]

    @property
    def live(self) -> bool:
        """Whether its name means something now."""
        return self.latest in self.versions and not self.removed

    @property
    def with_variants(self) -> list[FunctionRecord]:
        """Itself and its variants: what becomes of it becomes of them."""
        return [self, *self.variants.values()]

    def become(self, version: int) -> None:
        """Make a version the current one; it begins with the decorator's own settings."""
        for record in self.with_variants:
            record.latest, record.removed = version, False
            record.overrides.clear()

    def remove(self) -> None:
        """Have its name mean nothing; handles and ids stay good for a deployment that has it again."""
        for record in self.with_variants:
            record.removed = True


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """One stored secret."""

    name: str
    environment_name: str
    values: Mapping[str, str] = field(repr=False)
    created: float = 0.0  # seconds since 1970


class Registry:
    """All environments, Apps and Functions the hub knows.

    Args:
        new_id: Makes ids from a prefix; injected, so that the same events give the same ids in
            tests.
    """

    def __init__(self, new_id: Callable[[str], str]) -> None:
        self._new_id = new_id
        self.environments: dict[str, float] = {DEFAULT_ENVIRONMENT: 0.0}  # name -> created
        self.apps: dict[str, AppRecord] = {}
        self.functions: dict[str, FunctionRecord] = {}
        self._by_name: dict[tuple[str, str], FunctionRecord] = {}  # (app id, function name)
        self._deployed: dict[tuple[str, str], str] = {}  # (environment, app name) -> app id

    # --- Apps ---

    def begin(self, app_id: str, app: str, environment_name: str, client: str) -> AppRecord:
        """Return an App, made if it is not known: without an id the deployed one of that name."""
        environment_name = environment_name or DEFAULT_ENVIRONMENT
        known = app_id or self._deployed.get((environment_name, app), "")
        if known in self.apps:
            return self.apps[known]
        record = AppRecord(
            id=app_id or self._new_id("ap"),
            name=app,
            environment_name=environment_name,
            deployed=not app_id,
            owner=client if app_id else "",
        )
        self.restore_app(record)
        return record

    def restore_app(self, record: AppRecord) -> None:
        """Take a record as it is, from the store or new."""
        self.apps[record.id] = record
        if record.deployed and not record.final:
            self._deployed[record.environment_name, record.name] = record.id

    def app(self, app: str, environment_name: str = "") -> AppRecord | str:
        """Return an App by its id, or the deployed one of a name; else the sentence that says what there is."""
        if app in self.apps:
            return self.apps[app]
        if missing := self.no_environment(environment_name):
            return missing
        environment_name = environment_name or DEFAULT_ENVIRONMENT
        app_id = self._deployed.get((environment_name, app))
        if app_id is not None:
            return self.apps[app_id]
        apps = sorted(a for e, a in self._deployed if e == environment_name)
        return (
            f"No app {app!r} is deployed{_where(environment_name)}{_instead(app, apps)}. "
            "Run its cell with %%remote, or deploy the app."
        )

    def no_environment(self, name: str) -> str:
        """Return the sentence that an environment does not exist, or "" if it does."""
        if not name or name in self.environments:
            return ""
        return (
            f"There is no environment {name!r}{_instead(name, sorted(self.environments))}. "
            f"Create it with 'nbfn environment create {name}'."
        )

    def close(self, app: AppRecord) -> None:
        """Free the name of an App that was stopped."""
        key = (app.environment_name, app.name)
        if self._deployed.get(key) == app.id:
            del self._deployed[key]

    def move(self, app: AppRecord, environment_name: str) -> None:
        """Take an App along when its environment is renamed."""
        self.close(app)
        app.environment_name = environment_name
        self.restore_app(app)
        for function in self.functions_of(app):
            for record in function.with_variants:
                record.environment_name = environment_name

    def functions_of(self, app: AppRecord) -> list[FunctionRecord]:
        """Return the Functions that an App has, or had."""
        return [record for (app_id, _), record in self._by_name.items() if app_id == app.id]

    def forget_app(self, app: AppRecord) -> None:
        """Drop an App with its Functions."""
        for record in self.functions_of(app):
            self.forget(record)
        self.close(app)
        self.apps.pop(app.id, None)

    # --- Functions ---

    def put(
        self,
        app: str,
        app_id: str,
        environment_name: str,
        definition: Definition,
        client: str,
    ) -> tuple[FunctionRecord, bool]:
        """Register a definition as the current one; return its Function and whether anything is new."""
        record, version, _ = self.stage(app, app_id, environment_name, definition, client)
        created = version != record.latest or record.removed
        if created:
            record.become(version)
        return record, created

    def stage(
        self,
        app: str,
        app_id: str,
        environment_name: str,
        definition: Definition,
        client: str,
    ) -> tuple[FunctionRecord, int, bool]:
        """Take a definition without making it current; return its Function, its version and whether it is new."""
        owner = self.begin(app_id, app, environment_name, client)
        record = self._by_name.get((owner.id, definition.name))
        if record is None:
            record = FunctionRecord(
                id=self._new_id("fu"),
                app=owner.name,
                app_id=owner.id,
                environment_name=owner.environment_name,
                deployed=owner.deployed,
                name=definition.name,
                owner=owner.owner,
            )
            self.restore(record)
        newest = max({*record.versions, *record.unreadable}, default=0)
        for version in (record.latest, newest):
            known = record.versions.get(version)
            if known is not None and known.digest == definition.digest:
                return record, version, False
        record.versions[newest + 1] = definition
        for variant in record.variants.values():
            assert variant.variant is not None
            variant.versions[newest + 1] = apply_overrides(variant.variant, definition)
        return record, newest + 1, True

    def bind(
        self, base: FunctionRecord, variant: Variant, digest: str, shown: str
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
        if record.app_id not in self.apps:  # of a store from before there were records of Apps
            self.restore_app(
                AppRecord(
                    id=record.app_id,
                    name=record.app,
                    environment_name=record.environment_name,
                    deployed=record.deployed,
                    owner=record.owner,
                )
            )

    def named(self, app: AppRecord, versions: Mapping[str, int]) -> dict[str, FunctionRecord] | str:
        """Return the Functions of an App that a deployment names, or the sentence that one is not there."""
        found = {}
        for name, version in versions.items():
            record = self._by_name.get((app.id, name))
            if record is None or version not in record.versions:
                return f"Function {name!r} of app {app.name!r} has no version {version}. Register it again."
            found[name] = record
        return found

    def by_id(self, function: str, version: int = 0) -> FunctionRecord | str:
        """Return a Function by its id (with a version: if it has that one still), or why there is none."""
        record = self.functions.get(function)
        if record is None:
            return f"No function has the id {function!r}."
        return self.refusal(record, version) or record

    def find(self, app: str, name: str, environment_name: str = "") -> FunctionRecord | str:
        """Return a deployed Function, or the sentence that says what is there instead.

        An App's id serves as its name, also an ephemeral App's: Functions that call each other name
        each other so, and an id cannot be guessed.
        """
        owner = self.app(app, environment_name)
        if isinstance(owner, str):
            return owner
        record = self._by_name.get((owner.id, name))
        if record is not None and record.live:
            return record
        names = sorted(f.name for f in self.functions_of(owner) if f.live)
        return (
            f"Function {name!r} is not in app {owner.name!r}{_where(owner.environment_name)}"
            f"{_instead(name, names)}. Run its cell with %%remote, or deploy the app."
        )

    def forget(self, record: FunctionRecord) -> None:
        """Drop a Function and its variants, or a variant."""
        for variant in record.variants.values():
            self.functions.pop(variant.id, None)
        self.functions.pop(record.id, None)
        if record.base:
            self.functions[record.base].variants.pop(record.digest, None)
        else:
            self._by_name.pop((record.app_id, record.name), None)

    def deployed_as(
        self, app: str, name: str, environment_name: str, deployment: int
    ) -> tuple[FunctionRecord, int] | str:
        """Return a Function, and the version of it that a deployment of its App had; or why there is none."""
        owner = self.app(app, environment_name)
        if isinstance(owner, str):
            return owner
        record = self._by_name.get((owner.id, name))
        version = self.pinned(record, deployment) if record is not None else None
        if record is None or version is None:
            kept = ", ".join(f"v{n}" for n in sorted(owner.deployments)) or "none"
            return (
                f"Version {deployment} of app {owner.name!r} is not kept, or had no function {name!r} "
                f"(kept: {kept}). See 'nbfn app history {owner.name}'."
            )
        return record, version

    def pinned(self, record: FunctionRecord, deployment: int) -> int | None:
        """Return the version of a Function that a deployment of its App had."""
        kept = self.apps[record.app_id].deployments.get(deployment)
        name = self.functions[record.base].name if record.base else record.name
        return kept.functions.get(name) if kept is not None else None

    def refusal(self, record: FunctionRecord | None, version: int) -> str:
        """Return why a Function cannot be called, or ""; version 0 is its current one."""
        if record is None:
            return "The function is not known to this hub (any more). Register it again, or look it up by name."
        if self.apps[record.app_id].final:
            return f"App {record.app!r} was stopped, so {record.name!r} cannot be called. Deploy or run it again."
        if (version or record.latest) in record.unreadable:
            return (
                f"Version {version or record.latest} of {record.name!r} (app {record.app!r}) cannot be read from "
                "the hub's database. Deploy it, or run its cell, again."
            )
        if not version and not record.live:
            return f"Function {record.name!r} is not in app {record.app!r} any more: it was deployed without it."
        if version and version not in record.versions:
            return f"Function {record.name!r} of app {record.app!r} has no version {version} at this hub."
        return ""


def variant_of(
    base: FunctionRecord,
    id: str,  # noqa: A002 - its id
    variant: Variant,
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
        versions={n: apply_overrides(variant, version) for n, version in base.versions.items()},
        latest=base.latest,
        removed=base.removed,
        base=base.id,
        variant=variant,
        digest=digest,
        shown=shown[:LONGEST_SHOWN],
    )


def _where(environment_name: str) -> str:
    default = environment_name == DEFAULT_ENVIRONMENT
    return "" if default else f" (in the {environment_name!r} environment)"


def _instead(name: str, known: list[str]) -> str:
    if not known:
        return " (there is none yet)"
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
    return f" (there are: {shown}{hint})"
