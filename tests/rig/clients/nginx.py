"""A real nginx that serves a folder and, as docs/http.md has it, Lever on a path of the same site."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rig.programs import ROOT, program
from tests.rig.waiting import eventually

AROUND = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ text/html html; text/javascript js; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {pages}; }}
        {documented}
    }}
}}
"""


@dataclass
class Nginx:
    """A running one."""

    address: str
    folder: Path

    def requests(self) -> list[str]:
        """Method and path of every request so far."""
        return re.findall(r'"([A-Z]+ \S+) HTTP', (self.folder / "access.log").read_text())


def documented(lever: str) -> str:
    """The block of docs/http.md, for a Lever at this address."""
    (block,) = re.findall(r"^```nginx\n(.*?)^```", (ROOT / "docs/http.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block.count("127.0.0.1:8081") == 1
    return str(block.replace("127.0.0.1:8081", lever))


def free_port() -> int:
    """A port that was free just now; nginx takes no port 0."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


@contextmanager
def nginx(folder: Path, port: int, pages: Path, lever: str) -> Iterator[Nginx]:
    """One for as long as the block."""
    folder.chmod(0o755)  # its worker is nobody, where this is root
    config = folder / "nginx.conf"
    config.write_text(AROUND.format(folder=folder, port=port, pages=pages, documented=documented(lever)))
    address = f"127.0.0.1:{port}"
    with subprocess.Popen([program("nginx"), "-c", str(config), "-e", str(folder / "error.log")]) as process:
        try:
            eventually(lambda: process.poll() is None and answers(address), 20)
            yield Nginx(address, folder)
        finally:
            process.terminate()


def answers(address: str) -> bool:
    """Whether somebody listens."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True
