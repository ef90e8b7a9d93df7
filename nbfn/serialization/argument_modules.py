"""The user's modules that only arguments of a Function bring along: workers import these by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nbfn.serialization.file_watch import FileWatch
from nbfn.serialization.import_graph import content_hash, reachable_sources


@dataclass(slots=True)
class ArgumentModules:
    """What was brought to one Function.

    Attributes:
        seen: Names of modules, with hashes of what their files said when they were first met.
    """

    seen: dict[str, bytes] = field(default_factory=dict)

    def add(self, names: Iterable[str], watch: FileWatch) -> None:
        """Watch, from now on, the files of those of these modules that are the user's."""
        for name in names:
            if name not in self.seen:
                sources = reachable_sources([name])
                for source in sources.values():
                    watch.add(source.file)
                self.seen[name] = content_hash(sources)
