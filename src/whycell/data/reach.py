"""Whether a server can be reached, asked for less than a second, so that nobody offline waits for a time-out."""

from __future__ import annotations

import os
import socket
import threading
import urllib.request
from urllib.parse import urlsplit

__all__ = ["unreachable"]

_SECONDS = 0.6
_PORTS = {"https": 443, "http": 80}


def unreachable(address: str) -> str:
    """Why the server of an address cannot be reached, or "" where it can.

    Only the way is tried, to the server or to the proxy that the environment names: a name that resolves and a port
    that takes a connection. ``WHYCELL_CONNECT_SECONDS`` gives slow networks longer.

    Parameters
    ----------
    address
        ``https://`` or ``http://``.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host = parts.hostname or ""
    seconds = float(os.environ.get("WHYCELL_CONNECT_SECONDS", _SECONDS))
    found: list[str] = []

    def attempt() -> None:
        try:
            socket.create_connection((host, parts.port or _PORTS.get(parts.scheme, 443)), timeout=seconds).close()
            found.append("")
        except OSError as error:
            found.append(error.strerror or str(error))

    # A resolver that gets no answer holds its caller for many seconds and cannot be called off: it is left behind.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else f"{host} gave no answer within {seconds:g} s"
