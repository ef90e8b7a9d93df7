"""One worker that waits for many things at once."""

import asyncio
import time

import nbfn as modal

app = modal.App("guide-concurrent-async")


@app.function(max_containers=1)
@modal.concurrent(max_inputs=50)
async def wait_for(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return len(asyncio.all_tasks())


@app.local_entrypoint()
async def main():
    begun = time.monotonic()
    tasks = [wait_for.remote.aio(0.5) for _ in range(20)]
    at_once = await asyncio.gather(*tasks)
    print("20 half seconds in one worker took less than 5 s:", time.monotonic() - begun < 5)
    print("several at once:", max(at_once) > 1)
    calls = [await wait_for.spawn.aio(0.1) for _ in range(3)]
    print("gathered:", len(await modal.FunctionCall.gather.aio(*calls)))
