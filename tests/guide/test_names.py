"""Tests of names in any script, for Functions, classes, parameters, Apps, environments, secrets, files and URLs."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import nbfn

PROGRAM = """
import nbfn

app = nbfn.App("анализ")

@app.function()
def größe(π: float = 3.0, *, имя: str = "я") -> str:
    return f"{π:g} {имя}"

@app.cls()
class Модель:
    размер: int = nbfn.parameter(default=3)

    @nbfn.method()
    def предскажи(self, x: int) -> int:
        return x * self.размер

@app.function()
@nbfn.fastapi_endpoint()
def 分析(x: int = 1): return {"x": x}

@app.function()
@nbfn.fastapi_endpoint()
def 解析(x: int = 1): return {"x": -x}

@app.local_entrypoint()
def главная(число: int = 3):
    print(größe.remote(число))
"""


@pytest.fixture
def cli(home: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs the command line in a folder with the program."""
    (tmp_path / "größe.py").write_text(PROGRAM, "utf-8")

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "nbfn", *words]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    return run


def test_the_command_line_takes_them(cli: Callable[..., str]) -> None:
    assert "5 я" in cli("run", "größe.py", "--число", "5")
    assert "--число" in cli("run", "größe.py::главная", "--help")
    cli("run", "größe.py::größe", "--π", "3", "--имя", "ж")
    cli("run", "größe.py::" + unicodedata.normalize("NFD", "größe"))
    cli("run", "größe.py::Модель.предскажи", "--размер", "3", "--x", "4")
    cli("environment", "create", "среда")
    cli("deploy", "--env", "среда", "größe.py")
    assert "анализ" in cli("app", "list", "--env", "среда")


def test_they_are_found_by_name_in_whatever_form(cli: Callable[..., str]) -> None:
    cli("deploy", "größe.py")
    for form in ("NFC", "NFD"):
        app = unicodedata.normalize(form, "анализ")
        found = nbfn.Function.from_name(app, unicodedata.normalize(form, "größe"))
        assert found.remote(2.5, имя="ж") == "2.5 ж"
        assert nbfn.App.lookup(app).name == "анализ"
    model = nbfn.Cls.from_name("анализ", "Модель")
    assert model(размер=4).предскажи.remote(2) == 8
    assert "анализ" in cli("app", "stop", unicodedata.normalize("NFD", "анализ"), "--yes")


def test_web_endpoints_have_urls_of_their_own_in_ascii(cli: Callable[..., str]) -> None:
    cli("deploy", "größe.py")
    urls = []
    for name, expected in (("分析", 5), ("解析", -5)):
        url = nbfn.Function.from_name("анализ", name).get_web_url()
        assert url is not None
        assert url.isascii()
        with urllib.request.urlopen(f"{url}?x=5") as answer:
            assert json.load(answer) == {"x": expected}
        urls.append(url)
    assert len(set(urls)) == 2


def test_secrets_variables_and_two_spellings_of_one_function(home: Path) -> None:
    nbfn.Secret.create_deployed("секрет", {"TOKEN": "ü"})
    app = nbfn.App("größe", tags={"größe": "π"})

    @app.function(env={"ÄÖ": "1"}, secrets=[nbfn.Secret.from_name("секрет")])
    def told() -> tuple[str, str]:
        import os

        return os.environ["ÄÖ"], os.environ["TOKEN"]

    assert told.remote() == ("1", "ü")

    first = app.function(name="große")(lambda: 1)
    with pytest.warns(UserWarning, match="is replaced"):
        second = app.function(name=unicodedata.normalize("NFD", "große"))(lambda: 2)
    assert list(app.registered_functions) == ["told", "große"]
    assert second.remote() == 2
    assert repr(first) == repr(second)
