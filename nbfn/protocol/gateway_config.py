"""``web.json``: the ports of the web endpoints of one home, and the secrets that open them.

Made by the first hub that needs it, readable by its owner only, and kept, so that URLs stay the same.
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

#: Labels whose ports are kept.
PORTS_KEPT = 1000


def _token() -> str:
    return secrets.token_urlsafe(16)  # 128 bits


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Where web endpoints listen.

    Attributes:
        ports: The port on 127.0.0.1 of each label.
        token: What the keys of URLs and cookies are made of. Other users of this machine cannot guess it.
        proxy_key, proxy_secret: What a request's Modal-Key and Modal-Secret must be, where an endpoint has
            ``requires_proxy_auth=True``.
    """

    ports: dict[str, int] = field(default_factory=dict)
    token: str = field(default_factory=_token)
    proxy_key: str = field(default_factory=lambda: f"wk-{_token()}")
    proxy_secret: str = field(default_factory=lambda: f"ws-{_token()}")

    @classmethod
    def load(cls, path: Path) -> GatewayConfig:
        """Read it; a new one where there is none.

        Raises:
            InvalidError: If the file is there and cannot be understood.
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
        """Write it, whole or not at all, readable by its owner only."""
        temporary = Path(f"{path}.{os.getpid()}")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)
        temporary.replace(path)

    def with_port(self, label: str, port: int, *, used: Collection[str]) -> GatewayConfig:
        """Return the same with the port of a label; of very many, the oldest that is not used is forgotten."""
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
        """Return the key of an endpoint's URL, or of a cookie that expires then; only the token's owner can make it.

        It is not valid at another port: a process that listens on an earlier port of the endpoint may have seen it.
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
