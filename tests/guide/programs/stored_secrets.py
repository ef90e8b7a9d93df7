"""Values that workers get as environment variables and that nobody sees: stored, or at hand.

Usage:
    nbfn secret create guide-token TOKEN=xyzzy
    nbfn run stored_secrets.py
"""

import os

import nbfn as modal

app = modal.App("guide-secrets", secrets=[modal.Secret.from_dict({"REGION": "here"})])


@app.function(
    secrets=[modal.Secret.from_name("guide-token", required_keys=["TOKEN"])],
    env={"MODE": "fast"},
)
def login():
    return len(os.environ["TOKEN"]), os.environ["REGION"], os.environ["MODE"]


@app.local_entrypoint()
def main():
    print("login:", login.remote())
    print("not here:", "TOKEN" not in os.environ)
