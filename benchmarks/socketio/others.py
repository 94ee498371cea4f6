"""The programs that others put in front of, or beside, several workers: nginx and Redis, from Debian.

Each on a free loopback port, with all its files in the folder it is given; in the foreground as a child of ours, ended
by its pid.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import Absent, free_port

_PACKAGES = {"nginx": "nginx-light", "redis-server": "redis-server"}
_PLACES = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
"""Debian keeps nginx where a user's PATH does not lead."""


def program(name: str) -> str:
    """Where it is.

    Raises:
        Absent: it is not installed.
    """
    found = shutil.which(name, path=_PLACES)
    if found is None:
        raise Absent(f"{name} is not installed: apt-get install {_PACKAGES[name]}")
    return found


def versions(*names: str) -> str:
    """For the notes."""
    said = [subprocess.run([program(name), "-v"], capture_output=True, text=True, check=False) for name in names]
    found = [re.search(r"(?:nginx/|v=)([\d.]+)", one.stdout + one.stderr) for one in said]
    return ", ".join(f"{name} {one[1] if one else ''}" for name, one in zip(names, found, strict=True))


@contextmanager
def nginx(folder: Path, ports: Sequence[int], *, keepalive: bool) -> Iterator[int]:
    """``ip_hash`` to those ports, as Flask-SocketIO's own documentation has it; its port.

    ``keepalive``: with connections to them that are kept for the next request, which that documentation leaves out.
    """
    port = free_port()
    place = folder / f"nginx-{port}"
    place.mkdir()
    (place / "nginx.conf").write_text(
        _CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            place=place,
            port=port,
            servers=" ".join(f"server 127.0.0.1:{one};" for one in ports),
            kept="keepalive 32; keepalive_requests 1000000;" if keepalive else "",
            connection="$connection_upgrade" if keepalive else '"Upgrade"',
            empty="''",
        )
    )
    with _child([program("nginx"), "-p", str(place), "-e", "stderr", "-c", str(place / "nginx.conf")], place, port):
        yield port


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Its URL. It keeps nothing on disk."""
    port = free_port()
    place = folder / f"redis-{port}"
    place.mkdir()
    settings = {"bind": "127.0.0.1", "port": str(port), "save": "", "appendonly": "no", "dir": str(place)}
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    with _child([program("redis-server"), *options], place, port):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def _child(command: list[str], place: Path, port: int) -> Iterator[None]:
    with (place / "output").open("wb") as log:
        process = subprocess.Popen(command, cwd=place, stdout=log, stderr=log)
    try:
        _wait_for(port, process, place / "output")
        yield
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{process.args!r}: {log.read_text(errors='replace')[-2000:]}") from None
            time.sleep(0.02)


_CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {place}/pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
    uwsgi_temp_path {place}; scgi_temp_path {place};
    map $http_upgrade $connection_upgrade {{ default "Upgrade"; '' {empty}; }}
    upstream nodes {{ ip_hash; {servers} {kept} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection {connection};
        }}
    }}
}}
"""
