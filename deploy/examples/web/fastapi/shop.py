# a program, not a package
"""A site on FastAPI whose hero Lever chooses over gRPC.

    uvicorn --app-dir deploy/examples/web/fastapi shop:app

LEVER_SERVER and LEVER_KEY say where Lever is. Without an answer the page shows its own default, in time.
"""

from __future__ import annotations

import html
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Cookie, FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from lever_client import Lever

DEFAULT = {"headline": "Invoicing that runs itself", "text": "Everything in one place.", "button": "See how it works"}
PAGE = """<!doctype html><title>Ledgerly</title>
<main data-variant="{arm}"><h1>{headline}</h1><p>{text}</p>
<form method="post" action="/start"><input type="hidden" name="decision" value="{decision}"><button>{button}</button></form></main>"""


@asynccontextmanager
async def lifespan(site: FastAPI) -> AsyncIterator[None]:
    """One connection for the process; what was reported is flushed at the end."""
    with Lever(os.environ.get("LEVER_SERVER", "localhost:50051"), key=os.environ.get("LEVER_KEY", "")) as lever:
        site.state.lever = lever
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
def home(request: Request, visitor: Annotated[str | None, Cookie()] = None) -> HTMLResponse:
    """The page. A visitor is a random id in a cookie."""
    subject = visitor or uuid.uuid4().hex
    hero = request.app.state.lever.select("page-hero", subject, default="calm", payload=DEFAULT)
    texts = {name: html.escape(text) for name, text in hero.payload.items()}
    answer = HTMLResponse(PAGE.format(arm=hero.arm, decision=hero.decision_id, **texts))
    answer.set_cookie("visitor", subject, max_age=30 * 86400, httponly=True, samesite="lax")
    return answer


@app.post("/start")
def start(request: Request, decision: Annotated[str, Form()] = "") -> RedirectResponse:
    """The button. The reward leaves in the background: nobody waits for it."""
    request.app.state.lever.reward(decision, "click")
    return RedirectResponse("/", status_code=303)
