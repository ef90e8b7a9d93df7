"""A function that yields: its items arrive while it still runs."""

import time

import nbfn as modal

app = modal.App("guide-generators")


@app.function()
def countdown(start):
    for number in range(start, 0, -1):
        yield number, time.time()


@app.function()
async def letters(text):
    for letter in text:
        yield letter


@app.local_entrypoint()
async def main():
    numbers = [number for number, _ in countdown.remote_gen(3)]
    print("counted", numbers)
    print("spelt", "-".join([letter async for letter in letters.remote_gen.aio("nbfn")]))
    for number, _ in countdown.remote_gen(1_000_000):
        print("left at", number)
        break
