"""What choosing threads see, after some of it was replaced."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.serving.published import Published

UIDS = "abcdef"


def snapshot(uid: str, name: str, turn: int) -> Any:
    return SimpleNamespace(experiment=SimpleNamespace(uid=uid, name=name), log_id=f"{turn}-0")


@given(
    st.dictionaries(st.sampled_from(UIDS), st.sampled_from(["hero", "shop", "mail"]), min_size=1),
    st.lists(st.sets(st.sampled_from(UIDS)), max_size=4),
)
def test_replacing_some_is_publishing_all_anew(names: dict[str, str], turns: list[set[str]]) -> None:
    """Also where two have one name, of which one was lost: the last that was published keeps it."""
    now = {uid: snapshot(uid, name, 0) for uid, name in names.items()}
    seen, wanted = Published(), Published()
    seen.publish(now)
    for turn, changed in enumerate(turns, 1):
        new = {uid: snapshot(uid, names[uid], turn) for uid in changed if uid in now}
        now |= new
        seen.renew(new)
    wanted.publish(now)
    assert (seen.by_uid, seen.by_name) == (wanted.by_uid, wanted.by_name)
