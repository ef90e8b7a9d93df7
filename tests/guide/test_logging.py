"""Tests that the caller's loggers handle log records and warnings of remote code, at their own levels."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbfn

app = nbfn.App("logging")
log = logging.getLogger("remote.code")


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def said(self) -> list[str]:
        """Return the messages, and forget them."""
        told, self.records = [record.getMessage() for record in self.records], []
        return told


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Leave the levels as they were."""
    before = {name: logging.getLogger(name).level for name in ("", "remote", "remote.code")}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    logging.disable(logging.NOTSET)


@pytest.fixture
def kept() -> Iterator[Kept]:
    """A handler of the root logger, whose level is WARNING as Python sets it."""
    handler = Kept()
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.WARNING)
    yield handler
    logging.root.removeHandler(handler)


@app.function(max_containers=1)
def logs(x: int) -> int:
    logger = logging.getLogger("remote.code")
    logger.debug("debug %d", x)
    logger.info("info %d", x)
    logger.warning("warning %d", x)
    return x


def test_records_come_at_the_levels_that_the_caller_has(kept: Kept) -> None:
    logs.remote(1)
    assert kept.said() == ["warning 1"]
    logging.root.setLevel(logging.INFO)
    logs.remote(2)
    assert kept.said() == ["info 2", "warning 2"]
    log.setLevel(logging.DEBUG)
    logs.remote(3)
    assert kept.said() == ["debug 3", "info 3", "warning 3"]
    log.setLevel(logging.NOTSET)
    logging.getLogger("remote").setLevel(logging.ERROR)  # above the logger that is used
    logs.remote(4)
    assert kept.said() == []
    logging.getLogger("remote").setLevel(logging.NOTSET)
    logging.disable(logging.INFO)
    logs.remote(5)
    assert kept.said() == ["warning 5"]
    logging.disable(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)
    logs.remote(6)
    assert kept.said() == ["warning 6"]


def test_every_way_to_call_brings_them(kept: Kept) -> None:
    logging.root.setLevel(logging.INFO)
    assert sum(logs.map(range(50))) == sum(range(50))
    assert sorted(kept.said()) == sorted(
        f"{level} {x}" for x in range(50) for level in ("info", "warning")
    )
    logs.spawn(1).get()
    assert kept.said() == ["info 1", "warning 1"]
    asyncio.run(logs.remote.aio(2))
    assert kept.said() == ["info 2", "warning 2"]
    logs.with_concurrency(max_inputs=3).remote(3)
    assert kept.said() == ["info 3", "warning 3"]


@app.function()
async def logs_later(x: int) -> None:
    await asyncio.sleep(0)
    logging.getLogger("remote.code").info("later %d", x)


@app.function()
def logs_in_a_thread(x: int) -> None:
    worker = threading.Thread(
        target=logging.getLogger("remote.code").info, args=("thread %d", x), name="mine"
    )
    worker.start()
    worker.join()


@app.function()
def yields(x: int) -> Iterator[int]:
    for number in range(x):
        logging.getLogger("remote.code").info("item %d", number)
        yield number


@app.function()
def calls(x: int) -> None:
    logging.getLogger("remote.code").info("before")
    logs.remote(x)
    logging.getLogger("remote.code").info("after")


@app.cls()
class Model:
    @nbfn.method()
    def fit(self, x: int) -> None:
        logging.getLogger("remote.code").info("fit %d", x)


def test_every_kind_of_function_brings_them(kept: Kept) -> None:
    logging.root.setLevel(logging.INFO)
    logs_later.remote(1)
    assert kept.said() == ["later 1"]
    logs_in_a_thread.remote(2)
    assert (kept.records[0].threadName, kept.said()) == ("mine", ["thread 2"])
    assert list(yields.remote_gen(2)) == [0, 1]
    assert kept.said() == ["item 0", "item 1"]
    Model().fit.remote(3)
    assert kept.said() == ["fit 3"]
    calls.remote(4)
    assert kept.said() == ["before", "info 4", "warning 4", "after"]


@app.function()
def fails() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("remote.code").exception("it failed", extra={"user": "ada", "job": [1]})


def test_a_record_is_whole(kept: Kept, tmp_path: Path) -> None:
    file = logging.FileHandler(tmp_path / "log")
    file.setFormatter(logging.Formatter("%(levelname)s|%(name)s|%(funcName)s|%(user)s|%(message)s"))
    logging.root.addHandler(file)
    try:
        fails.remote()
    finally:
        logging.root.removeHandler(file)
        file.close()
    written = (tmp_path / "log").read_text()
    assert written.startswith("ERROR|remote.code|fails|ada|it failed\nTraceback (most recent")
    assert written.endswith("ValueError: why\n")
    assert kept.records[0].pathname == __file__


def test_a_logger_with_a_handler_of_its_own_and_filters_are_as_here(kept: Kept) -> None:
    own = Kept()
    log.addHandler(own)
    log.propagate = False
    log.setLevel(logging.INFO)
    try:
        logs.remote(1)
        assert (own.said(), kept.said()) == (["info 1", "warning 1"], [])
        log.addFilter(lambda record: record.levelno > logging.INFO)
        own.setLevel(logging.WARNING)
        logs.remote(2)
        assert own.said() == ["warning 2"]
    finally:
        log.propagate = True
        log.removeHandler(own)
        log.filters.clear()


def test_without_handlers_warnings_are_shown_as_python_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])
    logs.remote(1)
    assert capsys.readouterr().err == "warning 1\n"


@app.function(max_containers=1)
def configures(how: str) -> None:
    if how == "basic":
        logging.basicConfig(level=logging.INFO, format="own %(message)s", stream=sys.stdout)
    elif how == "handler":
        logger = logging.getLogger("remote.code")
        logger.setLevel(logging.INFO)
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler(sys.stdout))
    logging.getLogger("remote.code").info(how)


@pytest.mark.parametrize(
    ("how", "shown"), [("basic", "own basic\nown basic\n"), ("handler", "handler\nhandler\n")]
)
def test_what_the_body_configures_counts_and_doubles_nothing(
    how: str, shown: str, capsys: pytest.CaptureFixture[str], kept: Kept
) -> None:
    function = configures.with_options(env={"HOW": how})  # workers of its own
    function.remote(how)
    function.remote(how)
    assert capsys.readouterr().out == shown
    assert kept.said() == []


@app.function()
def root_only() -> int:
    logging.warning("root %s", "warned")  # noqa: LOG015 - what people write
    return len(logging.root.handlers)


def test_functions_of_the_module_add_no_handler(kept: Kept) -> None:
    assert root_only.remote() == 1
    assert kept.said() == ["root warned"]


def test_two_callers_of_one_worker_have_their_own_levels(kept: Kept, tmp_path: Path) -> None:
    deployed = nbfn.App("levels")
    deployed.function(name="logs", max_containers=1)(logs.get_raw_f())
    deployed.deploy()
    program = (
        "import logging, nbfn\nlogging.basicConfig(level=logging.DEBUG, format='%(message)s')\n"
        "nbfn.Function.from_name('levels', 'logs').remote(9)\n"
    )
    here = nbfn.Function.from_name("levels", "logs")
    here.remote(1)
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    here.remote(2)
    assert other.stderr.splitlines()[-3:] == ["debug 9", "info 9", "warning 9"]
    assert kept.said() == ["warning 1", "warning 2"]


PROGRAM = """
import logging, sys
import nbfn

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)
app = nbfn.App()


@app.function()
def work(x):
    print("printed before")
    logging.getLogger("remote").info("logged %d", x)
    print("printed after")


if __name__ == "__main__":
    work.remote(1)
"""


def test_in_a_script_they_are_formatted_as_its_own_among_the_prints(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    said = [line for line in ran.stdout.splitlines() if "nbfn.client" not in line]
    assert said == ["printed before", "INFO remote logged 1", "printed after"]


def test_they_are_in_the_logs_of_the_call() -> None:
    call = logs.spawn(7)
    call.get()
    assert "WARNING:remote.code:warning 7" in [
        entry.message.rstrip() for entry in call.logs.tail(10)
    ]


class Calls(logging.Handler):
    """Calls a Function for each record."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            logs.remote(0)
        except Exception as error:
            self.errors.append(error)


def test_a_handler_that_calls_a_function_does_not_wait_for_ever() -> None:
    handler = Calls()
    log.addHandler(handler)
    try:
        assert logs.remote(1) == 1  # its record is handled where answers are received
        assert "QueueListener" in str(handler.errors[0])
        del handler.errors[:]
        log.warning("here")  # now the handler is busy when the record comes that its call logs
        assert handler.errors == []
    finally:
        log.removeHandler(handler)


# --- warnings ----------------------------------------------------------------------------------------


@app.function(max_containers=1)
def warns(x: int) -> int:
    warnings.warn(f"careful {x}", UserWarning, stacklevel=1)
    warnings.warn(f"old {x}", FutureWarning, stacklevel=1)
    return x


def test_filters_of_warnings_are_those_of_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warns.remote(1)
        assert "UserWarning: careful 1" in (said := capsys.readouterr().err)
        assert "FutureWarning: old 1" in said
        warnings.filterwarnings("ignore", message="careful")
        warns.remote(2)
        assert "careful" not in (said := capsys.readouterr().err)
        assert "FutureWarning: old 2" in said
        warnings.simplefilter("error", FutureWarning)
        with pytest.raises(FutureWarning, match="old 3"):
            warns.remote(3)
        warnings.simplefilter("ignore")
        assert warns.remote(4) == 4
        assert capsys.readouterr().err == ""


def test_warnings_that_the_caller_has_logged_are(kept: Kept) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        try:
            warns.remote(1)
        finally:
            logging.captureWarnings(False)
    assert [record.name for record in kept.records] == ["py.warnings"] * 2
    assert "UserWarning: careful 1" in kept.said()[0]


def test_a_caller_that_configured_nothing_sends_nothing() -> None:
    program = (
        "import nbfn.client.client\nfrom nbfn.client.calls.active_call import log_levels\nimport logging, warnings\n"
        "print(log_levels(), end=' ')\nlogging.getLogger('x').setLevel(10)\nprint(len(log_levels()) > 0, end=' ')\n"
        "logging.getLogger('x').setLevel(0)\nprint(log_levels())\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout == "b'' True b''\n", ran.stderr


LOGS_INFO = """
import logging
logging.basicConfig(level=logging.INFO)
import nbfn

app = nbfn.App("at-info")

@app.function()
def inner(x: int) -> int:
    logging.getLogger("mine").info("inner %d", x)
    return x

@app.function()
def outer(x: int) -> int:
    return inner.remote(x)

app.deploy()
app.deploy()
print(outer.remote(1), list(inner.map([2])), inner.spawn(3).get())
"""


def test_a_program_that_logs_at_info_shows_no_record_of_nbfns(home: Path, tmp_path: Path) -> None:
    (tmp_path / "at_info.py").write_text(LOGS_INFO)
    ran = subprocess.run(
        [sys.executable, "at_info.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == "1 [2] 3\n", ran.stderr
    assert ran.stderr == "INFO:mine:inner 1\nINFO:mine:inner 2\nINFO:mine:inner 3\n"
