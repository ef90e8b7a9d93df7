"""Try every setting of a model at once and keep the best."""

from itertools import product

import nbfn as modal

app = modal.App("guide-grid-search")


@app.function(max_containers=4)
def fit(degree, penalty, points):
    """Fit y = x**degree to points, by a penalised least squares with one coefficient."""
    basis = [x**degree for x, _ in points]
    scale = sum(b * y for b, (_, y) in zip(basis, points, strict=True)) / (
        sum(b * b for b in basis) + penalty
    )
    loss = sum((scale * b - y) ** 2 for b, (_, y) in zip(basis, points, strict=True)) / len(points)
    return {"degree": degree, "penalty": penalty, "scale": round(scale, 3), "loss": round(loss, 3)}


@app.local_entrypoint()
def main(count: int = 20):
    points = [(x / 10, 2 * (x / 10) ** 3) for x in range(count)]
    grid = product([1, 2, 3, 4], [0.0, 0.1, 10.0])
    results = fit.starmap(grid, kwargs={"points": points}, order_outputs=False)
    best = min(results, key=lambda result: result["loss"])
    print("best:", best)
