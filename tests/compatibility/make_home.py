"""Fill ``NBFN_HOME`` with deployed Functions and spawned calls; prints the ids of the calls as JSON.

Run with an older nbfn on ``PYTHONPATH``, in an empty folder.
"""

import json
import time
from pathlib import Path

import nbfn

app = nbfn.App("old")
factor = 3
web_secret = nbfn.Secret.from_dict({"TOKEN": "s3cret"})


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def helper(x: int) -> int:
    return factor * x


@app.function(serialized=True)
def triple(x: int) -> int:
    return helper(x)


@app.function(serialized=True)
def through(x: int) -> int:
    return triple.remote(x) + 1


@app.function(serialized=True)
def apply(function, x: int) -> int:
    return function.remote(x)


@app.function(serialized=True)
def point(x: int) -> Point:
    return Point(x)


@app.function(serialized=True)
def numbers(n: int):
    yield from range(n)


@app.function(serialized=True, secrets=[web_secret])
def token() -> str:
    import os

    return os.environ["TOKEN"]


@app.function(serialized=True)
def fails_until(path: str) -> str:
    if not Path(path).exists():
        raise ValueError("not yet")
    return "done"


@app.function(serialized=True, max_containers=1)
def waits_for(path: str, x: int) -> int:
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return x


@app.function(serialized=True)
@nbfn.batched(max_batch_size=101, wait_ms=4000)
def batch_sizes(values: list[bytes]) -> list[int]:
    return [len(values) for _ in values]


@app.cls(serialized=True)
class Counter:
    start: int = nbfn.parameter(default=10)

    @nbfn.enter()
    def prepare(self) -> None:
        self.value = self.start

    @nbfn.method()
    def plus(self, x: int) -> int:
        return self.value + x


def main() -> None:
    flag = str(Path("flag").resolve())
    app.deploy()
    finished = point.spawn(7)
    finished.get()
    failed = fails_until.spawn(flag)
    try:
        failed.get()
    except ValueError:
        pass
    waiting = waits_for.spawn_map([flag] * 3, range(3))
    by_handle = apply.spawn(triple, 4)
    by_handle.get()
    variant = apply.spawn(triple.with_options(timeout=20), 5)
    variant.get()
    blocked = [waits_for.spawn(flag, n) for n in (10, 11)]
    with_handle = waits_for.spawn(flag, triple)  # returns its argument: a Function
    while not Path(f"{flag}.begun").exists():
        time.sleep(0.01)
    # Would end that version's hub, after the wait of its batch.
    large_batch = batch_sizes.spawn_map([b"x" * 200_000] * 100)
    print(
        json.dumps(
            {
                "finished": finished.object_id,
                "failed": failed.object_id,
                "waiting": waiting.object_id,
                "by_handle": by_handle.object_id,
                "variant": variant.object_id,
                "blocked": [call.object_id for call in blocked],
                "with_handle": with_handle.object_id,
                "large_batch": large_batch.object_id,
            }
        )
    )


if __name__ == "__main__":
    main()
