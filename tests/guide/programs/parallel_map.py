"""A thousand inputs, some of which fail now and then: retries mend what can be mended, the rest is collected."""

from pathlib import Path

import nbfn as modal

app = modal.App("guide-parallel-map")


@app.function(
    retries=modal.Retries(max_retries=2, backoff_coefficient=1.0, initial_delay=0.0),
    max_containers=3,
)
def fetch(page, *, folder):
    mark = Path(folder) / str(page)
    if page % 50 == 0 and not mark.exists():
        mark.touch()
        raise ConnectionError(f"page {page} is busy")  # the first time only
    if page == 13:
        raise ValueError("there is no page 13")
    return page * 2


@app.local_entrypoint()
def main(folder: str, pages: int = 200):
    results = list(fetch.map(range(pages), kwargs={"folder": folder}, return_exceptions=True))
    failed = [result for result in results if isinstance(result, Exception)]
    print("pages:", len(results), "failed:", [repr(error) for error in failed])
    print("mended:", len(list(Path(folder).iterdir())))
    try:
        fetch.for_each([13], kwargs={"folder": folder})
    except ValueError as error:
        print("raised:", error)
    fetch.for_each([13], kwargs={"folder": folder}, ignore_exceptions=True)
    print("done")
