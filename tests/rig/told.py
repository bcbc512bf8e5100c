"""A Lever with keys and a story, and plain calls to its console."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig.site import Site


@dataclass
class Told:
    """The server, its keys by what they allow, a decision that was made, and the file of keys."""

    site: Site
    everything: str
    read: str
    decide: str
    decision: str
    keys: Path

    def ask(self, path: str, body: object = None, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON of an endpoint of the console, asked with the key for everything if no other is named."""
        given = self.everything if key is None else key
        headers = {"authorization": f"Bearer {given}"} if given else {"authorization": ""}
        method = "GET" if body is None else "POST"
        answer = self.site.call(method, f"/console/api/{path}", body, address=self.site.http, **headers)
        return answer.status, json.loads(answer.body)

    def get(self, path: str) -> Any:
        """The JSON of an endpoint that answers."""
        status, told = self.ask(path)
        assert status == 200, told
        return told
