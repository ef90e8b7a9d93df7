"""Callers pass single values; the worker gets them in batches."""

import nbfn as modal

app = modal.App("guide-dynamic-batching")


@app.function(max_containers=1)
@modal.batched(max_batch_size=4, wait_ms=500)
async def embed(texts: list[str]) -> list[tuple[int, int]]:
    return [(len(text), len(texts)) for text in texts]


@app.cls(max_containers=1)
class Model:
    @modal.enter()
    def load(self):
        self.factor = 10

    @modal.batched(max_batch_size=3, wait_ms=500)
    def score(self, xs: list[int], ys: list[int]) -> list[int]:
        return [self.factor * x + y for x, y in zip(xs, ys, strict=True)]


@app.local_entrypoint()
def main():
    results = list(embed.map(["a", "bb", "ccc", "dddd"]))
    print("lengths:", [length for length, _ in results])
    print("largest batch:", max(size for _, size in results))
    print("scores:", list(Model().score.starmap([(1, 2), (3, 4), (5, 6)])))
