"""The registry of environments, Apps, Functions, their versions and variants. It has no clock and no I/O; its
callers emit the effects that store changes.

A deployed App is looked up by (environment, name); an ephemeral App belongs to one client and has no name.
A Function keeps its id as long as its App and name exist; a changed definition is a new version. A version is
*staged* until a deployment makes it current. A variant (other options, or other parameters of a class) is a
Function with all versions of its base, each with the same overrides; it cannot be looked up by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nbfn.declarations.overrides import apply_overrides
from nbfn.hub.scheduler.app_records import AppRecord
from nbfn.protocol.messages import Definition, Variant

#: The default environment.
DEFAULT_ENVIRONMENT = "main"
#: Stopped Apps that are kept.
STOPPED_KEPT = 200
#: Characters of a variant's name after the name of its base; every overview contains these names.
LONGEST_SHOWN = 80


@dataclass(slots=True)
class FunctionRecord:
    """One Function: its names, versions and overridden pool settings."""

    id: str
    app: str
    app_id: str
    environment_name: str
    deployed: bool
    name: str
    owner: str = ""  # the client that owns the ephemeral App
    versions: dict[int, Definition] = field(default_factory=dict)
    latest: int = 0  # the current version; 0 if none was deployed
    overrides: dict[str, float] = field(default_factory=dict)
    #: Versions in the store that cannot be read.
    unreadable: set[int] = field(default_factory=set)
    removed: bool = False  # the latest deployment of its App does not contain it
    stopped_at: float | None = None  # when its calls and workers were stopped
    base: str = ""  # of a variant: the id of its base
    variant: Variant | None = None  # of a variant: its overrides
    digest: str = ""  # of a variant: its identity
    shown: str = ""  # of a variant: the suffix of its name
    variants: dict[str, FunctionRecord] = field(default_factory=dict, repr=False)  # by digest

    @property
    def definition(self) -> Definition:
        """The definition of the current version, or of the newest if none is current."""
        return self.versions.get(self.latest) or self.versions[max(self.versions)]

    @property
    def live(self) -> bool:
        """Whether it can be looked up and called."""
        return self.latest in self.versions and not self.removed

    @property
    def with_variants(self) -> list[FunctionRecord]:
        """Itself and its variants, which always change together."""
        return [self, *self.variants.values()]

    def become(self, version: int) -> None:
        """Make a version the current one, and drop overridden settings."""
        for record in self.with_variants:
            record.latest, record.removed, record.stopped_at = version, False, None
            record.overrides.clear()

    def remove(self) -> None:
        """Mark it as removed; its id stays valid for a later deployment that contains it again."""
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
    """All environments, Apps and Functions of the hub.

    Args:
        new_id: Creates ids with a prefix; tests inject a deterministic one.
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
        """Return an App, created if necessary; without an id, the deployed App of that name."""
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
        """Add a record, restored or new."""
        self.apps[record.id] = record
        if record.deployed and not record.final:
            self._deployed[record.environment_name, record.name] = record.id

    def app(self, app: str, environment_name: str = "") -> AppRecord | str:
        """Return an App by its id or, if deployed, by its name; otherwise an error text."""
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
        """Return an error text if an environment does not exist, or ""."""
        if not name or name in self.environments:
            return ""
        return (
            f"There is no environment {name!r}{_instead(name, sorted(self.environments))}. "
            f"Create it with 'nbfn environment create {name}'."
        )

    def close(self, app: AppRecord) -> None:
        """Release the name of a stopped App."""
        key = (app.environment_name, app.name)
        if self._deployed.get(key) == app.id:
            del self._deployed[key]

    def move(self, app: AppRecord, environment_name: str) -> None:
        """Move an App to the new name of its environment."""
        self.close(app)
        app.environment_name = environment_name
        self.restore_app(app)
        for function in self.functions_of(app):
            for record in function.with_variants:
                record.environment_name = environment_name

    def functions_of(self, app: AppRecord) -> list[FunctionRecord]:
        """Return the Functions of an App, including removed ones."""
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
        """Register a definition as the current one; return its Function and whether anything changed."""
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
        """Add a definition without making it current; return its Function, version and whether it is new."""
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
        """Return a variant of a Function, and whether it was created."""
        if (known := base.variants.get(digest)) is not None:
            return known, False
        record = variant_of(base, self._new_id("fu"), variant, digest, shown)
        self.restore(record)
        return record, True

    def restore(self, record: FunctionRecord) -> None:
        """Add a record, restored or new; a variant is added after its base."""
        self.functions[record.id] = record
        if record.base:
            self.functions[record.base].variants[record.digest] = record
            return
        self._by_name[record.app_id, record.name] = record
        if record.app_id not in self.apps:  # from a database without records of Apps
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
        """Return the Functions that a deployment names, or an error text if one is missing."""
        found = {}
        for name, version in versions.items():
            record = self._by_name.get((app.id, name))
            if record is None or version not in record.versions:
                return f"Function {name!r} of app {app.name!r} has no version {version}. Register it again."
            found[name] = record
        return found

    def by_id(self, function: str, version: int = 0) -> FunctionRecord | str:
        """Return a Function by its id, or why it cannot be called in this version."""
        record = self.functions.get(function)
        if record is None:
            return f"No function has the id {function!r}."
        return self.refusal(record, version) or record

    def find(self, app: str, name: str, environment_name: str = "") -> FunctionRecord | str:
        """Return a deployed Function, or an error text with the existing names.

        The id of an App, also of an ephemeral one, is accepted as its name: Functions of one App refer to each
        other by it, and ids cannot be guessed.
        """
        owner = self.app(app, environment_name)
        if isinstance(owner, str):
            return owner
        record = self._by_name.get((owner.id, name))
        if record is not None and record.live:
            return record
        if record is not None and record.latest in record.unreadable and not record.removed:
            return _unreadable(record, record.latest)
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
        """Return a Function and its version in a deployment of its App, or an error text."""
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
        """Return the version of a Function in a deployment of its App, or None."""
        kept = self.apps[record.app_id].deployments.get(deployment)
        name = self.functions[record.base].name if record.base else record.name
        return kept.functions.get(name) if kept is not None else None

    def refusal(self, record: FunctionRecord | None, version: int) -> str:
        """Return why a Function cannot be called, or ""; version 0 is its current one."""
        if record is None:
            return "This hub does not know the function (any more). Register it again, or look it up by name."
        if self.apps[record.app_id].final:
            return f"App {record.app!r} was stopped, so {record.name!r} cannot be called. Deploy or run it again."
        if (version or record.latest) in record.unreadable:
            return _unreadable(record, version or record.latest)
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
    """Return the record of a variant, with the overrides applied to each version of its base."""
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


def _unreadable(record: FunctionRecord, version: int) -> str:
    return (
        f"Version {version} of {record.name!r} (app {record.app!r}) cannot be read from the hub's database. "
        "Deploy it, or run its cell, again."
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
