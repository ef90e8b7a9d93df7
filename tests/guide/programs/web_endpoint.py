"""Functions that answer HTTP: one by its parameters, one as a whole FastAPI app."""

import httpx

import nbfn as modal

app = modal.App("guide-web-endpoint")


@app.function()
@modal.fastapi_endpoint(docs=True)
def greet(name: str = "world"):
    return {"hello": name}


@app.function()
@modal.fastapi_endpoint(method="POST")
def add(numbers: list[int]):
    return sum(numbers)


@app.function()
@modal.concurrent(max_inputs=10)
@modal.asgi_app()
def site():
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    pages = FastAPI()

    @pages.get("/page/{number}", response_class=HTMLResponse)
    async def page(number: int):
        return f"<h1>Page {number}</h1>"

    return pages


@app.local_entrypoint()
def main():
    with httpx.Client(timeout=30) as web:
        print("GET", web.get(greet.get_web_url(), params={"name": "ada"}).json())
        print("POST", web.post(add.get_web_url(), json=[1, 2, 3]).json())
        print("PAGE", web.get(site.get_web_url() + "/page/7").text)
        print("WRONG", web.get(add.get_web_url()).status_code)
