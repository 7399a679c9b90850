"""Which broker, and who we are there. Pure but for two small files it may read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import InvalidRequest

DEFAULT_URL = "nats://127.0.0.1:4222"
_DEFAULT_DATA_DIR = "./.cerebros"
_SIZE_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Target:
    """A broker and our identity there."""

    url: str
    """One URL, or several with commas."""
    creds: str | None = None
    """A file with a JWT and its seed."""
    user: str | None = None
    password: str | None = None
    origin: str = "the caller"
    """Who named the broker, for messages."""

    def __repr__(self) -> str:
        return f"Target({self.shown!r}, origin={self.origin!r})"

    @property
    def servers(self) -> list[str]:
        """Every server of the URL."""
        return [server.strip() for server in self.url.split(",") if server.strip()]

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        return ",".join(_without_secrets(server) for server in self.servers)


def resolve(
    url: str | None = None,
    *,
    creds: str | os.PathLike[str] | None = None,
    user: str | None = None,
    password: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """The broker to connect to: what is given, else ``NATS_URL``, else the running local stack of the
    working directory, else :data:`DEFAULT_URL`. Who we are: what is given, else ``NATS_CREDS``, else
    ``NATS_USER`` with ``NATS_PASSWORD``.

    Raises:
        InvalidRequest: Credentials that do not belong together.
    """
    env = os.environ if environ is None else environ
    found, origin = _url(url, env)
    given = {"creds": os.fspath(creds) if creds is not None else None, "user": user, "password": password}
    if not any(value is not None for value in given.values()):
        names = {"creds": "NATS_CREDS", "user": "NATS_USER", "password": "NATS_PASSWORD"}
        given = {key: env.get(name) or None for key, name in names.items()}
    if given["creds"] is not None and given["user"] is not None:
        raise InvalidRequest(
            "credentials for the broker are given in more than one way",
            help="keep either a credentials file or a user with a password",
        )
    if given["password"] is not None and given["user"] is None:
        raise InvalidRequest("a password for the broker is given, but no user", help="give the user too")
    return Target(found, **given, origin=origin)


def _url(given: str | None, env: Mapping[str, str]) -> tuple[str, str]:
    if given:
        return given, "the caller"
    if env.get("NATS_URL"):
        return env["NATS_URL"], "NATS_URL"
    path = Path(env.get("CEREBROS_DATA_DIR") or _DEFAULT_DATA_DIR) / "endpoints.json"
    stack = _endpoint(path)
    return (stack, str(path)) if stack else (DEFAULT_URL, "the default")


def _endpoint(path: Path) -> str | None:
    """The broker of the local stack, believed only while the process that wrote the file lives; a file
    that cannot be understood is as good as none."""
    try:
        with path.open(encoding="utf-8") as file:
            endpoints = json.loads(file.read(_SIZE_LIMIT))
        url, pid = endpoints["nats"], endpoints["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if isinstance(url, str) and url and _is_alive(pid) else None


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    if os.name == "nt":
        return True  # signal 0 is no question there
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # there, but not ours to signal
    except (OSError, OverflowError):
        return False
    return True


def _without_secrets(server: str) -> str:
    parts = urlsplit(server if "://" in server else f"nats://{server}")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
