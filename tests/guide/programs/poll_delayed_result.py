"""A web app that accepts work at once and hands out the result when it is there."""

import time

import httpx

import nbfn as modal

app = modal.App("guide-poll-delayed-result")


@app.function()
def slow_sum(numbers):
    time.sleep(0.5)
    return sum(numbers)


@app.function()
@modal.asgi_app()
def front():
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import JSONResponse

    web = FastAPI()

    @web.post("/accept")
    async def accept(numbers: list[int]):
        call = await slow_sum.spawn.aio(numbers)
        return {"call_id": call.object_id}

    @web.get("/result/{call_id}")
    async def result(call_id: str):
        call = modal.FunctionCall.from_id(call_id)
        try:
            return {"result": await call.get.aio(timeout=0)}
        except modal.exception.OutputExpiredError as error:
            raise HTTPException(404) from error
        except TimeoutError:
            return JSONResponse({}, status_code=202)

    return web


@app.local_entrypoint()
def main():
    url = front.get_web_url()
    with httpx.Client(timeout=30) as web:
        call_id = web.post(f"{url}/accept", json=[1, 2, 3]).json()["call_id"]
        print("accepted", call_id[:3])
        answer = web.get(f"{url}/result/{call_id}")
        waited = answer.status_code == 202
        while answer.status_code == 202:
            time.sleep(0.05)
            answer = web.get(f"{url}/result/{call_id}")
        print("had to wait:", waited)
        print("result", answer.json()["result"])
