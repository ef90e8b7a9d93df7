"""The contents of the wheel; lock files contain versions and no addresses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager

import nbfn
from nbfn import _jupyter_server_extension_points
from nbfn.jupyter.server.events import SCHEMA_ID

ROOT = Path(__file__).parents[2]


def read_json(name: str) -> Any:
    return json.loads((ROOT / name).read_text("utf-8"))


def test_one_version_everywhere() -> None:
    number = read_json("package.json")["version"]
    assert version("nbfn") == nbfn.__version__ == number
    assert read_json("package-lock.json")["version"] == number


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert lines == sorted(set(lines))
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)] == []


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = {
        re.split(r"[\[<>=~! ]", requirement)[0].replace("_", "-").lower()
        for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]
    }
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.split("==")[0] for line in lines}
    assert wanted - pinned == {"nbfn"}  # an extra of ours that holds another


def test_the_npm_lock_names_no_place() -> None:
    packages = read_json("package-lock.json")["packages"].values()
    assert [
        package for package in packages if "resolved" in package and not package.get("link")
    ] == []


def test_the_names_that_others_find_us_by() -> None:
    assert "nbfn" in {entry.name for entry in entry_points(group="console_scripts")}
    assert "local" in {entry.name for entry in entry_points(group="nbfn.launchers")}
    config = read_json("labextension/etc/nbfn.json")["ServerApp"]["jpserver_extensions"]
    assert config == {"nbfn": True}
    [point] = _jupyter_server_extension_points()
    assert point["app"].name == "nbfn"


@pytest.mark.parametrize(
    ("name", "shown", "module"),
    [
        ("nbfn", "Python 3 (nbfn)", "nbfn_kernel.session.local_kernel"),
        ("nbfn-remote", "Python 3 (nbfn remote)", "nbfn_kernel.session.remote_kernel"),
    ],
)
def test_the_kernels_are_found_with_their_logos(name: str, shown: str, module: str) -> None:
    spec = KernelSpecManager().get_kernel_spec(name)
    assert spec.display_name == shown
    assert spec.argv[1:3] == ["-m", module]
    found = {path.name for path in Path(spec.resource_dir).iterdir()}
    assert {"logo-svg.svg", "logo-32x32.png", "logo-64x64.png"} <= found


def test_page_and_server_mean_the_same_event() -> None:
    source = (ROOT / "labextension/src/model/events.ts").read_text("utf-8")
    assert f"'{SCHEMA_ID}'" in source


def test_the_panels_types_are_those_of_the_servers_schema() -> None:
    command = ["node", str(ROOT / "labextension" / "types.mjs"), "--check"]
    env = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=env, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_panels_tests_run_in_a_directory_with_a_percent_sign_in_its_name(
    tmp_path: Path,
) -> None:
    clone = tmp_path / "50% off"
    panel, packages = clone / "labextension", clone / "node_modules"
    (panel / "src" / "__tests__").mkdir(parents=True)
    packages.mkdir()
    for name in ("vitest.config.mjs", "vitest.setup.mjs"):
        shutil.copy(ROOT / "labextension" / name, panel)
    for name in ("vitest", "jsdom"):
        (packages / name).symlink_to(ROOT / "node_modules" / name)
    shutil.copytree(ROOT / "node_modules" / "react", packages / "react")
    (panel / "src" / "__tests__" / "react.spec.ts").write_text(
        "import { version } from 'react';\n"
        "import { expect, it } from 'vitest';\n"
        "it('is found', () => expect(version).toMatch(/^18/));\n"
    )
    command = [
        "node",
        str(packages / "vitest" / "vitest.mjs"),
        "run",
        "--config",
        "labextension/vitest.config.mjs",
    ]
    done = subprocess.run(
        command, cwd=clone, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
