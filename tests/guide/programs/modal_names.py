"""A program written for Modal's cloud: what cannot be honoured is said once, the rest runs."""

import nbfn as modal

image = (
    modal.Image.debian_slim(python_version="3.9")
    .apt_install("ffmpeg")
    .pip_install("msgspec", "no-such-package")
    .env({"MODE": "image"})
)
app = modal.App("guide-modal-names", image=image)
volume = modal.Volume.from_name("weights", create_if_missing=True)

with image.imports():
    import json


@app.function(gpu=None, volumes={"/weights": volume}, region="eu", cpu=0.5, memory=256, timeout=600)
def run(x):
    import os

    volume.commit()
    return json.dumps({"x": x, "mode": os.environ["MODE"]})


@app.local_entrypoint()
def main():
    print(run.remote(3))
