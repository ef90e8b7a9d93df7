"""One chaos run: load and fault injector side by side, then the check of docs/guarantees.md, P1 to P7.

That no process and no shared memory is left is seen when the home is closed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.fault_injector import Fault, FaultInjector
from tests.chaos.load import Account, Caller, Told

#: Patience with processes, short so that a run sees many losses.
SETTINGS = {
    "NBFN_LEASE": "1.5",
    "NBFN_KILL_GRACE": "1",
    "NBFN_CLIENT_GRACE": "15",
    "NBFN_HUB_GRACE": "8",
}
#: Seconds that calls have to end after the last fault.
PEACE = 90.0
#: Seconds around a fault in which it may have hit an input.
BLUR = 0.5


@dataclass
class Report:
    """What came of a run."""

    seed: int
    inputs: int = 0
    executions: int = 0
    crashed: int = 0
    spawned: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        faults = ", ".join(f"{what} {count}" for what, count in sorted(self.faults.items()))
        return (
            f"seed {self.seed}: {self.inputs} inputs ({self.spawned} spawned), {self.executions} executions, "
            f"{self.crashed} given up after crashes; {faults}; {len(self.wrong)} wrong"
        )


def run(home: Path, journal: Path, seconds: float, seed: int, threads: int = 3) -> Report:
    """Make calls while faults are injected; return what is not as guaranteed.

    Args:
        home: The ``NBFN_HOME``, which the environment names too.
        journal: A file for the executions.
        seconds: How long processes are killed.
        seed: Decides all that is decided by chance here.
        threads: Client threads in this process.
    """
    until = time.monotonic() + seconds
    callers = [
        Caller(f"t{n}", seed * 100 + n, journal, lambda: time.monotonic() > until)
        for n in range(threads)
    ]
    other = _other_client(seed, journal)
    injector = FaultInjector(home, seed, [other.pid])
    try:
        for caller in callers:
            caller.start()
        while time.monotonic() < until:
            injector.inject()
    finally:
        injector.stop()
    ends = time.monotonic() + PEACE
    report = Report(seed, faults=Counter(fault.what for fault in injector.faults))
    for caller in callers:
        caller.join(max(0.0, ends - time.monotonic()))
        if caller.is_alive():
            waiting = [t.key for t in caller.account.told.values() if not t.outcomes]
            report.wrong.append(f"{caller.name} hangs; without outcome: {waiting[:5]}")
    accounts = [caller.account for caller in callers] + [_ended(other, ends, report)]
    _judge(report, accounts, journal, injector.faults)
    return report


def _other_client(seed: int, journal: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tests.chaos.load", "p0", str(seed), str(journal)]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True)


def _ended(other: subprocess.Popen[str], ends: float, report: Report) -> Account:
    try:
        said = other.communicate("", timeout=max(5.0, ends - time.monotonic()))[0]
        told = json.loads(said)
    except (subprocess.TimeoutExpired, ValueError) as error:
        other.kill()
        other.communicate()
        report.wrong.append(f"the client process hangs: {error!r}")
        return Account()
    if told["hung"]:
        report.wrong.append("the client process has calls that do not end")
    inputs = {key: Told(**one) for key, one in told["told"].items()}
    return Account(inputs, [tuple(pair) for pair in told["spawned"]], told["trouble"])


def _judge(report: Report, accounts: list[Account], journal: Path, faults: list[Fault]) -> None:
    ran = Counter(journal.read_text().split()) if journal.exists() else Counter()
    report.executions = sum(ran.values())
    for account in accounts:
        report.wrong += account.trouble
        report.spawned += len(account.spawned)
        for told in account.told.values():
            report.inputs += 1
            if told.outcomes != 1:
                report.wrong.append(f"{told.key} has {told.outcomes} outcomes")
            report.crashed += told.outcome.startswith("crashed")
            if told.outcome not in ("right", "") and not told.outcome.startswith("crashed"):
                report.wrong.append(f"{told.key}: {told.outcome}")
            around = _faults_around(told, faults)
            once = "-once-" in told.key
            if ran[told.key] > (1 if once else 1 + around):
                report.wrong.append(
                    f"{told.key} ran {ran[told.key]} times, {around} faults around it"
                )
            if told.outcome == "right" and not ran[told.key]:
                report.wrong.append(f"{told.key} has a result and never ran")
            if told.outcome.startswith("crashed") and around < (1 if once else 2):
                report.wrong.append(
                    f"{told.key} was given up after {around} faults: {told.outcome}"
                )


def _faults_around(told: Told, faults: list[Fault]) -> int:
    """Count the faults while an input was under way; nothing else may make it run again."""
    return sum(
        fault.begun <= told.ended + BLUR and fault.ended >= told.begun - BLUR for fault in faults
    )
