"""Subcommands of line magics, as in ``%fn warm f 2``. Each is a function with its own argument parser."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.utils.process import arg_split  # type: ignore[attr-defined]

#: A subcommand: gets the notebook and its arguments, returns the value that the cell displays.
Action = Callable[[Any, argparse.Namespace], Any]


class _Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        usage = self.format_usage().removeprefix("usage: ").strip()
        raise UsageError(f"{self.prog}: {plain(message)}. Write: {usage}")


def plain(message: str) -> str:
    """Return a message of argparse; one about an invalid number is rephrased as nbfn's own messages are."""
    found = re.fullmatch(r"argument (\S+): invalid (int|float) value: (.*)", message)
    if found is None:
        return message
    kind = "a whole number" if found[2] == "int" else "a number"
    return f"{found[1]} is {found[3]}; it must be {kind}"


@dataclass(slots=True)
class Subcommands:
    """The subcommands of one magic.

    Attributes:
        magic: Its name, as the user writes it.
        commands: The parser and the function of each subcommand, by its name.
    """

    magic: str
    commands: dict[str, tuple[_Parser, Action]] = field(default_factory=dict)

    def subcommand(self, name: str, *arguments: tuple[tuple[str, ...], dict[str, Any]]) -> Any:
        """Return a decorator that adds a subcommand.

        Args:
            name: Its name.
            *arguments: The result of `arg` for each of its arguments.

        Returns:
            The decorator.
        """

        def decorate(action: Action) -> Action:
            about = (action.__doc__ or "").strip().splitlines()[0]
            parser = _Parser(prog=f"{self.magic} {name}", description=about, add_help=False)
            for names, options in arguments:
                parser.add_argument(*names, **options)
            self.commands[name] = (parser, action)
            return action

        return decorate

    def run(self, notebook: Any, line: str) -> Any:
        """Run the subcommand of a line.

        Args:
            notebook: Passed to the subcommand.
            line: The line.

        Returns:
            The result of the subcommand.

        Raises:
            UsageError: If the subcommand is unknown, or its arguments are not valid.
        """
        __tracebackhide__ = True
        name, _, rest = line.strip().partition(" ")
        if name not in self.commands:
            near = difflib.get_close_matches(name, self.commands, 1)
            hint = f"Did you mean {near[0]!r}?" if near else self.usage()
            raise UsageError(f"{self.magic} has no {name!r}. {hint}")
        parser, action = self.commands[name]
        return action(notebook, parser.parse_args([_bare(word) for word in arg_split(rest)]))

    def usage(self) -> str:
        """Return the names of all subcommands in a line."""
        return f"Write one of: {', '.join(self.commands)}."

    def help(self) -> str:
        """Return the usage and the description of all subcommands."""
        return "\n".join(
            f"{parser.format_usage().removeprefix('usage: ').strip()}\n    {parser.description}"
            for parser, _ in self.commands.values()
        )


def _bare(word: str) -> str:
    quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "'\""
    return word[1:-1] if quoted else word


def arg(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Describe an argument of a subcommand, as for `argparse.ArgumentParser.add_argument`."""
    return names, options
