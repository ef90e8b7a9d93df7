"""Functions that the hub calls by itself while the App is deployed, or while `nbfn serve` runs it."""

import os
import time
from pathlib import Path

import nbfn as modal

app = modal.App("guide-cron")
DIARY = Path(os.environ.get("DIARY", "diary.txt"))


@app.function(schedule=modal.Period(seconds=1))
def every_second():
    with DIARY.open("a") as diary:
        diary.write(f"tick {time.time():.0f}\n")


@app.function(schedule=modal.Cron("0 9 * * 1", timezone="Europe/Berlin"))
def on_monday(greeting="good morning"):
    return greeting


if __name__ == "__main__":
    print("called as any other:", on_monday.remote("hello"))
