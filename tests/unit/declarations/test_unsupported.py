"""Names of things that only Modal's cloud has."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from typing import Any

import pytest

import nbfn as modal
from nbfn import gpu
from nbfn.exception import UnimplementedError

KINDS = [
    modal.CloudBucketMount,
    modal.Dict,
    modal.FilePatternMatcher,
    modal.Mount,
    modal.NetworkFileSystem,
    modal.Proxy,
    modal.Queue,
    modal.Sandbox,
    modal.SandboxSnapshot,
    modal.SchedulerPlacement,
    modal.Volume,
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_can_be_made_and_named_but_not_used(kind: Any) -> None:
    for made in (kind("x"), kind.from_name("x", create_if_missing=True)):
        assert isinstance(made, kind)
        assert "'x'" in repr(made)
        with pytest.raises(
            UnimplementedError,
            match=rf"^{kind.__name__}\.anything needs Modal's cloud, and nbfn has no {kind.__name__}: \w",
        ):
            made.anything()
        assert not hasattr(made, "nbytes")  # as who looks at any object asks
        assert isinstance(pickle.loads(pickle.dumps(made)), kind)


def test_what_makes_one_in_the_cloud_is_refused() -> None:
    with pytest.raises(UnimplementedError, match=r"Sandbox\.create.*subprocess"):
        modal.Sandbox.create("ls")
    with pytest.raises(UnimplementedError, match=r"Queue\.ephemeral.*Function\.map"):
        modal.Queue.ephemeral()
    assert not hasattr(modal.Queue, "_private")


def test_a_volume_needs_no_commit() -> None:
    volume = modal.Volume.from_name("data")
    assert volume.commit() is None
    assert volume.reload() is None
    assert asyncio.run(volume.commit.aio()) is None
    with pytest.raises(UnimplementedError, match=r"Volume\.listdir"):  # anything else is refused
        volume.listdir("/")


def test_a_forwarded_port_is_a_port_of_this_machine() -> None:
    with modal.forward(8000) as tunnel:
        assert isinstance(tunnel, modal.Tunnel)
        assert tunnel.url == "http://127.0.0.1:8000"
        assert tunnel.tcp_socket == ("127.0.0.1", 8000)


def test_interact_says_what_to_do_instead() -> None:
    with pytest.raises(UnimplementedError, match="breakpoint"):
        modal.interact()


@pytest.mark.filterwarnings("ignore:nbfn counts GPUs")
def test_gpus_as_objects_are_the_strings_of_today() -> None:
    assert gpu.T4() == "T4"
    assert modal.gpu.A100(count=2, size="80GB") == "A100-80GB:2"
    assert gpu.Any() == "any"
    with warnings.catch_warnings(action="ignore"):  # that no kind is looked at is said once
        options = modal.App().function(name="f", gpu=gpu.H100(count=4))(print).spec
    assert (options.resources.gpu, options.resources.gpus) == ("H100", 4)
