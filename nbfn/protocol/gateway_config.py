"""Reads and writes ``web.json``, which stores the ports and secrets of the web endpoints of one home.

The first hub that needs the file creates it, readable by its owner only. It is kept, so that the URLs of
endpoints do not change.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nbfn.exception import InvalidError

#: The number of labels whose ports are stored.
PORTS_KEPT = 1000


def _token() -> str:
    return secrets.token_urlsafe(16)  # 128 bits


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """The ports and secrets of web endpoints.

    Attributes:
        ports: The port on 127.0.0.1 of each label.
        token: The secret from which the keys of URLs and cookies are computed.
        proxy_key, proxy_secret: The required values of the headers Modal-Key and Modal-Secret, for endpoints
            with ``requires_proxy_auth=True``.
    """

    ports: dict[str, int] = field(default_factory=dict)
    token: str = field(default_factory=_token)
    proxy_key: str = field(default_factory=lambda: f"wk-{_token()}")
    proxy_secret: str = field(default_factory=lambda: f"ws-{_token()}")

    @classmethod
    def load(cls, path: Path) -> GatewayConfig:
        """Read the file; return a new configuration if there is no file.

        Args:
            path: The file.

        Raises:
            InvalidError: If the file exists but is not valid.
        """
        try:
            stored = dict(json.loads(path.read_text("utf-8")))
            known = {name: kind(stored[name]) for name, kind in _KINDS.items() if name in stored}
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, TypeError) as error:
            raise InvalidError(
                f"{path} cannot be read ({error}). Remove it: URLs of web endpoints will be new ones."
            ) from None
        return cls(**known)

    def save(self, path: Path) -> None:
        """Write the file atomically, readable by its owner only.

        Args:
            path: The file.
        """
        temporary = Path(f"{path}.{os.getpid()}")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)
        temporary.replace(path)

    def with_port(self, label: str, port: int, *, used: Collection[str]) -> GatewayConfig:
        """Return a copy with the port of a label.

        If there are more than `PORTS_KEPT` labels, the oldest labels that are not used are dropped.

        Args:
            label: The label.
            port: Its port.
            used: Labels that must not be dropped.
        """
        ports = self.ports | {label: port}
        unused = [name for name in ports if name != label and name not in used]
        for name in unused[: max(0, len(ports) - PORTS_KEPT)]:
            del ports[name]
        return replace(self, ports=ports)

    def url(self, label: str) -> str:
        """Return the URL of a label that has a port."""
        port = self.ports[label]
        return f"http://127.0.0.1:{port}/{self.key(label, port)}/{label}"

    def key(self, label: str, port: int, expiry: str = "") -> str:
        """Return the key of the URL of an endpoint, or of a cookie. It can be computed only with the token.

        The key is valid for one port only, because another process that listens on an earlier port of the endpoint
        may have received an earlier key.

        Args:
            label: The label of the endpoint.
            port: Its port.
            expiry: The time at which the cookie expires; empty for the key of a URL.
        """
        digest = hmac.digest(self.token.encode(), f"{label}:{port}:{expiry}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:18]).decode()  # 144 bits, no padding


def _ports(stored: Any) -> dict[str, int]:
    return {str(label): int(port) for label, port in dict(stored).items()}


_KINDS: dict[str, Callable[[Any], Any]] = {
    "ports": _ports,
    "token": str,
    "proxy_key": str,
    "proxy_secret": str,
}
