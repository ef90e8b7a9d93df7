"""Functions that call functions, and how to look at them afterwards."""

import nbfn as modal

app = modal.App("guide-call-graph")


@app.function()
def leaf(x):
    return x + 1


@app.function()
def root(xs):
    return sum(leaf.map(xs)) + leaf.remote(0)


@app.local_entrypoint()
def main():
    call = root.spawn([1, 2])
    print("result:", call.get(timeout=60))
    (top,) = call.get_call_graph()
    print("root:", top.function_name, top.status.name)
    print("under it:", sorted(child.function_name for child in top.children))
