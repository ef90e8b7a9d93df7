"""Ports of web endpoints: kept, limited, and closed when nobody uses them."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from nbfn.hub import gateway_process
from nbfn.hub.gateway_process import EndpointSockets


def ports(of: EndpointSockets) -> dict[str, int]:
    return {label: found.getsockname()[1] for label, found in of.sockets.items()}


def test_labels_get_their_ports_again(tmp_path: Path) -> None:
    first = EndpointSockets(tmp_path / "web.json", 10)
    assert first.listen_for(["a", "b"]) == {}
    before, url = ports(first), first.url("a")
    first.close()
    assert first.url("a") == ""
    again = EndpointSockets(tmp_path / "web.json", 10)
    assert again.listen_for(["b", "a"]) == {}
    assert (ports(again), again.url("a")) == (before, url)
    assert json.loads((tmp_path / "web.json").read_text())["ports"] == before
    again.close()


def test_a_socket_that_nobody_uses_is_closed_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = EndpointSockets(tmp_path / "web.json", 10)
    found.listen_for(["a", "b"])
    found.listen_for(["b"])
    assert (found.sockets.keys(), found.unused.keys()) == ({"a", "b"}, {"a"})
    found.listen_for(["a", "b"])  # it is back
    assert found.unused == {}
    monkeypatch.setattr(gateway_process, "LINGER", 0.0)
    found.listen_for(["b"])
    assert (found.sockets.keys(), found.unused.keys()) == ({"b"}, set())
    found.close()


def test_at_the_limit_sockets_that_nobody_uses_make_room(tmp_path: Path) -> None:
    found = EndpointSockets(tmp_path / "web.json", 2)
    assert found.listen_for(["a", "b"]) == {}
    refused = found.listen_for(["a", "b", "c"])
    assert list(refused) == ["c"]
    assert "2 listen already" in refused["c"]
    assert found.listen_for(["b", "c"]) == {}
    assert found.sockets.keys() == {"b", "c"}
    found.close()


def test_what_cannot_be_part_of_a_url_gets_no_port(tmp_path: Path) -> None:
    found = EndpointSockets(tmp_path / "web.json", 10)
    wrong = ["a\n+b", "a/b", "a b", "ä", "a" * 5000, ""]
    refused = found.listen_for(["a", *wrong])
    assert (list(refused), found.sockets.keys()) == (wrong, {"a"})
    assert all("cannot have a URL" in text for text in refused.values())
    found.close()


def test_a_taken_port_is_replaced(tmp_path: Path) -> None:
    found = EndpointSockets(tmp_path / "web.json", 10)
    found.listen_for(["a"])
    port = ports(found)["a"]
    found.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert found.listen_for(["a"]) == {}
        assert ports(found)["a"] != port
    found.close()
