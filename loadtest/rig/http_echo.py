"""The floor of HTTP: uvicorn with httptools and an application that does nothing. `python -m loadtest.rig.http_echo ANSWER_FILE`.

It takes each request's body and answers with the file's bytes. Prints its port.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn


def application(answer: bytes) -> Any:  # ASGI's own types are dictionaries
    """An ASGI application."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return serve


def main() -> None:
    """Entry point of a server process."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = application(Path(sys.argv[1]).read_bytes())
    config = uvicorn.Config(app, http="httptools", loop="uvloop", lifespan="off", access_log=False, log_config=None)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
