"""Provides `Image`, which accepts Modal's description of the environment of workers.

Workers run in the Python environment of the process that registers the Function. `Image.env` is applied, and
installed packages satisfy `pip_install`. One warning names all other steps, which have no effect.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

from nbfn.declarations.env_vars import check_variables
from nbfn.exception import InvalidError
from nbfn.runtime.traceback_filter import trimmed


def _begin(name: str) -> Any:
    def begin(cls: type[Image], *args: Any, **kwargs: Any) -> Image:
        return cls._make((_call(name, args, kwargs),))

    begin.__name__, begin.__doc__ = name, "Begin an image; has no effect here."
    return classmethod(begin)


class Image:
    """A description of the environment of workers in steps; each method returns a new Image.

    Examples:
        >>> image = Image.debian_slim().pip_install("packaging").env({"MODE": "fast"})
        >>> image.variables["MODE"], image.unmet
        ('fast', ())
        >>> image.apt_install("ffmpeg").unmet
        ("apt_install('ffmpeg')",)
    """

    __module__ = "nbfn"

    _steps: tuple[str, ...]
    #: Environment variables that workers get.
    variables: Mapping[str, str]

    from_registry: ClassVar[Callable[..., Image]] = _begin("from_registry")
    from_dockerfile: ClassVar[Callable[..., Image]] = _begin("from_dockerfile")
    from_aws_ecr: ClassVar[Callable[..., Image]] = _begin("from_aws_ecr")
    from_gcp_artifact_registry: ClassVar[Callable[..., Image]] = _begin(
        "from_gcp_artifact_registry"
    )
    from_name: ClassVar[Callable[..., Image]] = _begin("from_name")
    from_id: ClassVar[Callable[..., Image]] = _begin("from_id")
    from_scratch: ClassVar[Callable[..., Image]] = _begin("from_scratch")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise InvalidError(
            "An Image is made by Image.debian_slim() and the like, not by Image(...)."
        )

    @classmethod
    def _make(cls, steps: tuple[str, ...] = (), variables: Mapping[str, str] | None = None) -> Self:
        self = cls.__new__(cls)
        self._steps = steps
        self.variables = dict(variables or {})
        return self

    @classmethod
    def debian_slim(cls, python_version: str | None = None, force_build: bool = False) -> Image:
        """Begin an image that contains only Python; it has no effect in nbfn.

        Args:
            python_version: A version such as "3.12". Another version than that of this process is an
                `unmet` step.
            force_build: Has no effect.
        """
        ours = ".".join(platform.python_version_tuple()[:2])
        fits = python_version is None or python_version.split(".")[:2] == ours.split(".")
        return cls._make(() if fits else (f"debian_slim({python_version!r}), this is {ours}",))

    @classmethod
    def micromamba(cls, python_version: str | None = None, force_build: bool = False) -> Image:
        """Begin an image that contains only Python, like `debian_slim`; it has no effect in nbfn."""
        return cls.debian_slim(python_version)

    @property
    def unmet(self) -> tuple[str, ...]:
        """The steps that have no effect in nbfn."""
        return self._steps

    @trimmed
    def env(self, vars: Mapping[str, str]) -> Image:  # noqa: A002 - Modal's name
        """Set environment variables of the workers.

        Args:
            vars: The variables.

        Raises:
            InvalidError: If a name or value is not a string, or a name is not valid or reserved.
        """
        added = check_variables("Image.env", vars)
        return self._make(self._steps, {**self.variables, **added})

    def pip_install(self, *packages: str | list[str], **options: Any) -> Image:
        """Require packages; a warning names packages that are not installed in this environment.

        Args:
            *packages: Requirements such as "numpy>=2", or lists of them.
            **options: Have no effect.
        """
        flat = [p for one in packages for p in (one if isinstance(one, list | tuple) else [one])]
        missing = [package for package in flat if not _is_installed(package)]
        note = f"{_call('pip_install', missing, {})}, not installed here"
        return self._make((*self._steps, note) if missing else self._steps, self.variables)

    uv_pip_install = pip_install

    def add_local_python_source(self, *modules: str, **options: Any) -> Image:
        """Add modules of the program. This has no effect, because workers can import them anyway."""
        return self

    @contextlib.contextmanager
    def imports(self) -> Iterator[None]:
        """Import modules that only workers need while the block runs; a missing module causes a warning."""
        try:
            yield
        except ImportError as error:
            warnings.warn(
                f"{error}: workers run in this Python environment, so they lack it too. Install it here.",
                UserWarning,
                stacklevel=3,
            )

    def __getattr__(self, name: str) -> Callable[..., Image]:
        if name.startswith("_"):
            raise AttributeError(f"'Image' object has no attribute {name!r}")

        def step(*args: Any, **kwargs: Any) -> Image:
            return self._make((*self._steps, _call(name, args, kwargs)), self.variables)

        return step

    def __repr__(self) -> str:
        return f"<Image {', '.join(self._steps) or 'of this environment'}>"


def _call(name: str, args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    shown = [repr(a) for a in args] + [f"{key}={value!r}" for key, value in kwargs.items()]
    text = ", ".join(shown)
    return f"{name}({text if len(text) <= 60 else text[:59] + '…'})"


def _is_installed(package: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement  # few programs need it

    try:
        wanted = Requirement(package)
        return wanted.specifier.contains(importlib.metadata.version(wanted.name), prereleases=True)
    except (InvalidRequirement, importlib.metadata.PackageNotFoundError):
        return False
