"""What documents show of docs/numbers, a function a block, and their names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loadtest.tables.goals import goals
from loadtest.tables.numbers import Numbers, table


def speed(numbers: Numbers) -> str:
    """Of rpc.json and rivals.json, for the README."""
    rpc, http = numbers["rpc"], _of_rivals(numbers)["linucb-4x5"]
    names = ("linucb", "beta", "lints")
    tails = [rpc[f"p99_ratio_{name}"] for name in names]
    empty = (
        f"empty calls of grpc's asyncio server: {rpc['aio_echo_rps']:,.0f}; with uvloop {rpc['uvloop_echo_rps']:,.0f}"
    )
    rows = [
        [
            "CPU of a choice by LinUCB / Beta / exact linear Thompson sampling",
            " / ".join(f"{rpc[f'cpu_ratio_{name}']:.2f}" for name in names),
            "an empty call of grpc's sync server: 1",
        ],
        ["choices a second", f"{rpc['select_rps']:,.0f}", empty],
        [
            "the same over HTTP, all processes and the store on that core (4 arms, 5 numbers)",
            f"{http['lever http']['rps']:,.0f}",
            f"BanditDB, written in Rust: {http['banditdb']['rps']:,.0f}",
        ],
        ["choices a second in batches", f"{rpc['batch_decisions_per_s']:,.0f}", ""],
        ["rewards a second in streams", f"{rpc['reward_rps']:,.0f}", ""],
        ["from a reward to changed choices, p99", f"{rpc['freshness_p99_ms']:.0f} ms", ""],
        [
            "p99 at half load, beside batches of 10,000",
            f"{min(tails):.1f} to {max(tails):.1f}",
            "the empty call's: 1",
        ],
    ]
    return table("on one core | Lever | beside it", rows)


def _of_rivals(numbers: Numbers) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in numbers["rivals"]["contestants"]:
        found.setdefault(row["setting"], {})[row["who"]] = row
    return found


def rivals(numbers: Numbers) -> str:
    """Choices a second and CPU of each contestant, and what they come to."""
    found = _of_rivals(numbers)
    empty, who = found.pop(""), ("lever http", "lever grpc", "banditdb")
    rows = [
        [name, *(f"{one[each]['rps']:,.0f}, {one[each]['cpu_us']:.0f} us" for each in who)]
        for name, one in found.items()
    ]
    times = [one["lever http"]["rps"] / one["banditdb"]["rps"] for one in found.values()]
    floor = empty["empty http"]["rps"]
    small, large = (found[f"linucb-{shape}"]["lever http"]["rps"] / floor for shape in ("4x5", "10x16"))
    told = (
        f"An empty uvicorn answers {floor:,.0f} there, an empty sync gRPC server {empty['empty grpc']['rps']:,.0f}. Over"
        f" HTTP Lever has {min(times):.1f} to {max(times):.1f} times\nBanditDB's rate, and with LinUCB {small:.2f} and"
        f" {large:.2f} of the empty uvicorn's."
    )
    return table("arms x numbers | Lever, HTTP | Lever, gRPC | BanditDB, HTTP", rows) + f"\n\n{told}"


def sharing(numbers: Numbers) -> str:
    """One server that adds up beside all that do, by shape and number of servers."""
    rows = [
        [
            f"{one['arms']} arms, {one['columns'] or 'no'} columns",
            str(one["servers"]),
            f"{one['rows_s']:,}",
            *(f"{one[name]:.0f} ms" for name in ("adds_up_ms", "adds_for_all_ms", "loads_ms")),
            f"{one['cost_of_all_adding']:.2f}",
            f"{one['age_loaded_ms']} ms, {one['age_loaded_max_ms']} at the most",
        ]
        for one in numbers["sharing"]["found"]
    ]
    header = "experiment | servers | rows a second | adds up for itself | adds up and offers | loads"
    return table(f"{header} | CPU of all servers, of what it is where all add up | age of what is loaded", rows)


def hostile(numbers: Numbers) -> str:
    """Every attack with and without keys."""
    rows = []
    for attack, (keys, none) in _attacks(numbers).items():
        p99 = (f"{one['choices_p99_ratio']:.1f} / {one['choices_p99_ratio_beside']:.1f}" for one in (keys, none))
        memory = (f"{one['rss_growth_mb']:+.0f} MB" for one in (keys, none))
        rows.append([attack, *p99, *memory, f"{keys['server_cpu_s']:.1f} s"])
    header = "attack | p99, with keys | p99, without | memory at most, with keys | without"
    return table(f"{header} | CPU of the server, with keys", rows)


def hostile_to_core(numbers: Numbers) -> str:
    """Attacks that an empty server of the same library notices as well."""
    rows = []
    for attack, both in _attacks(numbers).items():
        if all(one["bare_p99_ms"] for one in both):
            bare = (one["bare_p99_ms"] for one in both)
            ours = ((one["choices_p99_ms"][0], one["choices_p99_ms"][-1]) for one in both)
            rows.append([attack, *("; ".join(f"{old:.1f}, {new:.0f}" for old, new in each) for each in (bare, ours))])
    return table("attack | an empty server | Lever", rows)


def _attacks(numbers: Numbers) -> dict[str, list[dict[str, Any]]]:
    """Each attack with keys and without."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in sorted(numbers["hostile"]["attacks"], key=lambda one: not one["keys"]):
        found.setdefault(one["attack"], []).append(one)
    return found


def overload(numbers: Numbers) -> str:
    """What is answered of more calls than can be, over few connections and many."""
    rows = [
        [
            f"{one['connections']}",
            f"{one['peak_per_s']:,}",
            f"{one['load']:.0f}x",
            f"{one['goodput_of_peak']:.2f}",
            f"{one['p50_ms']:.0f} and {one['p99_ms']:.0f} ms",
        ]
        for one in numbers["overload"]["loads"]
    ]
    return table(
        "connections | peak a second | arrivals | goodput of the peak | median and p99 of what is answered", rows
    )


BLOCKS: dict[str, Callable[[Numbers], str]] = {
    "goals": goals,
    "speed": speed,
    "rivals": rivals,
    "sharing": sharing,
    "hostile": hostile,
    "hostile-to-core": hostile_to_core,
    "overload": overload,
}
