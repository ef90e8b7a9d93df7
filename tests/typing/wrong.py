"""Lines that both checkers must refuse: that they do shows that the other files are looked at."""

from __future__ import annotations

from typing import assert_type

import nbfn

app = nbfn.App("wrong")


@app.function()
def square(x: int) -> int:
    return x * x


assert_type(square.remote(3), str)  # wrong: it is an int
square.remote("3")  # wrong: it takes an int
square.remote(3)  # type: ignore[arg-type]  # wrong: nothing to ignore
