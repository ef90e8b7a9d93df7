"""Records the user's modules that reach a Function only through its arguments; workers import these by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nbfn.serialization.file_watch import FileWatch
from nbfn.serialization.import_graph import content_hash, reachable_sources


@dataclass(slots=True)
class ArgumentModules:
    """The modules of the classes of arguments that one Function was called with.

    Attributes:
        seen: Names of modules, each with a hash of its files when it was first seen.
    """

    seen: dict[str, bytes] = field(default_factory=dict)

    def add(self, names: Iterable[str], watch: FileWatch) -> None:
        """Add modules, and watch the files of those that are the user's."""
        for name in names:
            if name not in self.seen:
                sources = reachable_sources([name])
                for source in sources.values():
                    watch.add(source.file)
                self.seen[name] = content_hash(sources)
