"""Records the user's modules that define the classes of arguments; workers import these modules by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nbfn.serialization.dependencies import FileWatch
from nbfn.serialization.import_graph import content_hash, reachable_sources


@dataclass(slots=True)
class ArgumentModules:
    """The modules that define the classes of the arguments with which one Function was called.

    Attributes:
        seen: For each module name, a hash of its files when the module was added.
    """

    seen: dict[str, bytes] = field(default_factory=dict)

    def add(self, names: Iterable[str], watch: FileWatch) -> None:
        """Add modules, and watch the files of the user's modules among them.

        Args:
            names: Names of modules.
            watch: The watch that the files are added to.
        """
        for name in names:
            if name not in self.seen:
                sources = reachable_sources([name])
                for source in sources.values():
                    watch.add(source.file)
                self.seen[name] = content_hash(sources)
