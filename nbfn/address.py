"""``web.json``: where the web endpoints of one home listen, and what opens them.

Made by the first hub that needs it, readable by its owner only, and kept, so that URLs stay the same.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nbfn.exception import InvalidError


def _token() -> str:
    return secrets.token_urlsafe(16)  # 128 bits


@dataclass(frozen=True, slots=True)
class Address:
    """Where web endpoints listen.

    Attributes:
        port: On 127.0.0.1; 0 for any.
        token: First part of the path of every URL. Other users of this machine cannot guess it.
        proxy_key, proxy_secret: What a request's Modal-Key and Modal-Secret must be, where an endpoint has
            ``requires_proxy_auth=True``.
    """

    port: int = 0
    token: str = field(default_factory=_token)
    proxy_key: str = field(default_factory=lambda: f"wk-{_token()}")
    proxy_secret: str = field(default_factory=lambda: f"ws-{_token()}")

    @classmethod
    def load(cls, path: Path) -> Address:
        """Read it; a new one where there is none.

        Raises:
            InvalidError: If the file is there and cannot be understood.
        """
        try:
            said = dict(json.loads(path.read_text("utf-8")))
            known = {name: kind(said[name]) for name, kind in _KINDS.items() if name in said}
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

    @property
    def base(self) -> str:
        """What every URL begins with; a label follows."""
        return f"http://127.0.0.1:{self.port}/{self.token}/"


_KINDS = {"port": int, "token": str, "proxy_key": str, "proxy_secret": str}
