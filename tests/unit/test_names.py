"""What names may be, and which of them are one."""

from __future__ import annotations

import unicodedata

import pytest

from nbfn import _names
from nbfn.exception import InvalidError


@pytest.mark.parametrize(
    "name", ["churn", "v1.2_b-3", "größe", "π", "анализ", "分析", "तालिका", "ثابت", "x" * 64]
)
def test_letters_and_digits_of_any_script_make_a_name(name: str) -> None:
    assert _names.check_name("it", name) == name
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert _names.check_name("it", unicodedata.normalize(form, name)) == name


def test_a_name_is_that_of_a_def_which_python_normalizes() -> None:
    scope: dict[str, object] = {}
    exec("def ﬁt_ｘ(): ...", scope)
    (known,) = (name for name in scope if name.endswith("x"))
    assert _names.check_name("it", "ﬁt_ｘ") == known == "fit_x"


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "🎉", "a\n", "a\0", "a\u200db", "x" * 65, "ü" * 255, None, 3]
)
def test_anything_else_is_refused_in_a_sentence(name: object) -> None:
    with pytest.raises(InvalidError, match=r"^The app's name "):
        _names.check_name("The app's name", name)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("", ""),
        ("/work/Untitled.ipynb", "Untitled"),
        ("some/My  notes (2).ipynb", "My-notes-2"),
        ("анализ.ipynb", "анализ"),
        (unicodedata.normalize("NFD", "größe.ipynb"), "größe"),
        ("分析 ①.ipynb", "分析-1"),
        ("v1.2.ipynb", "v1.2"),
    ],
)
def test_an_app_is_named_after_its_file(file: str, name: str) -> None:
    assert _names.app_name_of(file) == name


def test_files_whose_names_cannot_be_kept_have_names_of_their_own() -> None:
    files = [
        "🎉.ipynb",
        "🎈.ipynb",
        f"{'x' * 80}1.ipynb",
        f"{'x' * 80}2.ipynb",
        "ü" * 120 + ".ipynb",
    ]
    found = [_names.app_name_of(file) for file in files]
    assert len(set(found)) == len(files)
    assert all(_names.is_name(name) for name in found)
    assert found[0].startswith("notebook-")


def test_what_stands_in_a_url_is_ascii_and_tells_names_apart() -> None:
    assert _names.to_ascii("Churn-by_month") == "churn-by-month"
    shown = [_names.to_ascii(name) for name in ("größe", "große", "анализ", "分析", "解析")]
    assert len(set(shown)) == 5
    assert all(text.isascii() and text.replace("-", "").isalnum() for text in shown)
    assert shown[0].startswith("gro-e-")
