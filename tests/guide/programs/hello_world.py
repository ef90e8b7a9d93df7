"""One function, called in three ways: here, on a worker, and on as many workers as there are inputs for."""

import sys

import nbfn as modal

app = modal.App("guide-hello-world")


@app.function()
def greet(number):
    if number % 2 == 0:
        print("hello", number)
    else:
        print("world", number, file=sys.stderr)
    return number * number


@app.local_entrypoint()
def main():
    print("here:", greet.local(1000))
    print("on a worker:", greet.remote(1000))
    print("on many:", sum(greet.map(range(10))))
