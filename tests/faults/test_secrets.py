"""Secrets never leave: whatever the store's password is, nothing that is printed has it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from service.cli.main import app
from service.doctor.store import look
from service.errors import InvalidError, LeverError
from service.process.settings import chosen, hidden, shown
from service.process.settings import settings as resolve
from service.store.redis import RedisStore
from tests.rig.ground import Ground

FIRST, LAST = "Zq7xw", "kX9yv"  # begin and end every password, so that a part of it is found too
HOST = "127.0.0.1:1"  # nobody is there
passwords = st.text(st.characters(codec="utf-8") | st.sampled_from("#/?[]@:%&= \\"), max_size=12).map(
    lambda middle: FIRST + middle + LAST
)


def spellings(password: str) -> Iterator[str]:
    """How people write it: as it is, encoded, as a user, in the query, cut in two by a slip."""
    encoded = quote(password, safe="")
    for word in (password, encoded, password.replace("%", "%25")):
        yield f"redis://:{word}@{HOST}/0"
        yield f"rediss://bob:{word}@{HOST}"
        yield f"redis://{word}@{HOST}"
        yield f"redis://{word}:@{HOST}"
        yield f"redis://{HOST}?password={word}"
        if "@" not in word:  # else what follows it is an address
            yield f"redis://:{word}"
        yield f"unix://:{word}@/run/no.sock"
        yield f"redis:/:{word}@{HOST}"


def leaks(text: str) -> bool:
    return FIRST.lower() in text.lower() or LAST.lower() in text.lower()


def said(url: str) -> str:
    """All that settings with this URL print, or the refusal."""
    try:
        made = resolve({"redis_url": url}, {})
    except InvalidError as refused:
        return f"{refused} {refused.violations!r}"
    return f"{made} {made!r} {shown(made)} {chosen(made)} {hidden(made.redis_url)}"


@given(passwords)
@settings(max_examples=300, deadline=None)
def test_no_setting_error_or_store_says_the_password(password: str) -> None:
    for url in spellings(password):
        assert not leaks(hidden(url))
        assert not leaks(said(url))


@given(passwords)
@settings(max_examples=25, deadline=None)
def test_what_is_percent_encoded_is_taken_and_an_unreachable_store_does_not_say_it(password: str) -> None:
    made = resolve({"redis_url": f"redis://bob:{quote(password, safe='')}@{HOST}/3"}, {})
    store = RedisStore(made.redis_url)
    with pytest.raises(LeverError) as caught:
        store.poll({})
    assert not leaks(str(caught.value))
    assert not leaks(str(look(made)))


@pytest.mark.parametrize("middle", ["#", "/", "?", "[", "@", "%", " ", "\t", "é", "", ":"])
@pytest.mark.parametrize(
    "command", [["serve", "--check"], ["doctor", "--json"], ["verify"], ["export", "hero", "--out", "no.lever"]]
)
def test_no_command_prints_it(middle: str, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.cli.doctor.TIMEOUT_S", 0.2)
    for url in (f"redis://:{FIRST}{middle}{LAST}@{HOST}", f"redis://{FIRST}{middle}{LAST}@{HOST}"):
        done = CliRunner().invoke(app, command, env={"LEVER_REDIS_URL": url, "LEVER_SERVER": HOST})
        assert not leaks(done.output)
        assert not leaks(str(done.exception))
        if middle == ":" and "//:" not in url:
            continue  # a user and a password, as far as anyone can tell
        if middle or "//:" not in url:
            assert done.exit_code, "it is refused"
            assert "percent-encode" in done.output


def test_a_store_that_refuses_the_password_does_not_repeat_it(ground: Ground) -> None:
    with ground.raw as raw:
        raw.config_set("requirepass", "right")
        raw.execute_command("AUTH", "right")
        password = f"{FIRST}#/?[{LAST}"
        url = ground.engine.url.replace("unix://", f"unix://:{quote(password, safe='')}@")
        store = RedisStore(url)
        with pytest.raises(LeverError) as caught:
            store.poll({})
        assert not leaks(str(caught.value))
        done = CliRunner().invoke(app, ["verify", "--json"], env={"LEVER_REDIS_URL": url})
        assert done.exit_code == 1
        assert not leaks(done.output)
        raw.config_set("requirepass", password)
        assert json.loads(CliRunner().invoke(app, ["verify", "--json"], env={"LEVER_REDIS_URL": url}).stdout) == []
