"""A deployed function as a job queue: other programs find it by name, and results by the job's id.

Usage:
    nbfn deploy job_queue.py
    python job_queue.py submit 3 4
    python job_queue.py result fc-...
"""

import sys
import time

import nbfn as modal

app = modal.App("guide-job-queue")


@app.function(retries=1, timeout=60)
def process_job(x, y):
    time.sleep(0.2)
    if x < 0:
        raise ValueError(f"no root of {x}")
    return x * y


def submit(x, y):
    process = modal.Function.from_name("guide-job-queue", "process_job")
    return process.spawn(x, y).object_id


def result(call_id, timeout=30.0):
    try:
        return modal.FunctionCall.from_id(call_id).get(timeout=timeout)
    except TimeoutError:
        return "pending"
    except ValueError as error:
        return f"failed: {error}"


if __name__ == "__main__":
    if sys.argv[1] == "submit":
        print(submit(*map(int, sys.argv[2:])))
    else:
        print(result(sys.argv[2]))
