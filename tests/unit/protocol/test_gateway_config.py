"""``web.json``: the ports of web endpoints and the keys that open them."""

from __future__ import annotations

import json
from pathlib import Path

from nbfn.protocol.gateway_config import PORTS_KEPT, GatewayConfig


def test_a_file_of_an_earlier_version_gives_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    kept = {"port": 40001, "token": "t" * 22, "proxy_key": "wk-1", "proxy_secret": "ws-1"}
    path.write_text(json.dumps(kept))
    address = GatewayConfig.load(path)
    assert address == GatewayConfig({}, "t" * 22, "wk-1", "ws-1")
    address.with_port("shop", 40002, used=()).save(path)
    assert GatewayConfig.load(path).ports == {"shop": 40002}


def test_a_key_is_of_one_label_port_and_time() -> None:
    address = GatewayConfig(token="t" * 22)
    keys = [
        address.key("shop", 40001),
        address.key("shop", 40002),
        address.key("shop-2", 40001),
        address.key("shop", 40001, "17"),
        address.key("shop", 40001, "18"),
        GatewayConfig(token="u" * 22).key("shop", 40001),
    ]
    assert len(set(keys)) == len(keys)
    assert address.key("shop", 40001) == GatewayConfig(token="t" * 22).key("shop", 40001)
    assert "t" * 22 not in "".join(keys)


def test_of_very_many_ports_the_oldest_that_are_not_used_are_forgotten() -> None:
    address = GatewayConfig()
    for number in range(PORTS_KEPT):
        address = address.with_port(f"f{number}", 10_000 + number, used=())
    address = address.with_port("one", 1, used=["f0"]).with_port("two", 2, used=["f0"])
    assert len(address.ports) == PORTS_KEPT
    assert {"f0", "f3", "one", "two"} <= address.ports.keys()
    assert not {"f1", "f2"} & address.ports.keys()
