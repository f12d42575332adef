"""Who imports whom, read from the source: downwards only, no circles, no imports inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("agents_app", "sessions_app", "config")

# From the bottom up. A name stands for a module and all below it, the longest name wins, and a module imports from
# its own layer and those beneath.
LAYERS = {
    "pure": """
        agents_app.data_classes agents_app.guardrails agents_app.hints agents_app.session_config agents_app.demo.pack
        agents_app.demo.receptionists agents_app.practice.choice agents_app.practice.days agents_app.practice.matching
        agents_app.practice.normal agents_app.practice.slot_ids agents_app.practice.slots
        sessions_app.admission sessions_app.byte_ranges sessions_app.call sessions_app.cost sessions_app.dialect
        sessions_app.effects sessions_app.events sessions_app.frame_heads sessions_app.journal_format
        sessions_app.outbox sessions_app.review.figures sessions_app.spool_format sessions_app.unheard
        """,
    "what a receptionist is": "agents_app",
    "rows": "sessions_app.addresses sessions_app.models",
    "shells": """
        sessions_app.client_secrets sessions_app.client_socket sessions_app.demo_calls
        sessions_app.draining sessions_app.encoding
        sessions_app.fact_queue sessions_app.fact_rows sessions_app.fact_writer sessions_app.gate sessions_app.journal
        sessions_app.ledger sessions_app.leg sessions_app.load sessions_app.many_rows sessions_app.metrics
        sessions_app.realtime sessions_app.recorder sessions_app.recording sessions_app.resuming sessions_app.review
        sessions_app.spool_disk sessions_app.standin sessions_app.threads sessions_app.tool_gateway
        """,
    "one call": """
        sessions_app.bridge sessions_app.opening sessions_app.probing sessions_app.reaper sessions_app.refused_keys
        sessions_app.reopening
        sessions_app.tasks
        """,
    "all calls": "sessions_app.registry",
    "entries": """
        agents_app.admin agents_app.practice.admin sessions_app.admin sessions_app.api sessions_app.consumers
        sessions_app.management sessions_app.staff_api sessions_app.templatetags sessions_app.views
        """,
    "addresses": "agents_app.apps sessions_app.apps sessions_app.routing sessions_app.urls",
    "installation": "config",
}
PLACES = {name: layer for layer, names in LAYERS.items() for name in names.split()}
HEIGHTS = {layer: height for height, layer in enumerate(LAYERS)}

SHELLS = ("client_secrets", "realtime", "recorder", "recording", "tool_gateway")
ENTRIES = ("admin", "api", "consumers", "staff_api", "templatetags", "views")
IMPURE = {"asyncio", "channels", "django", "logging", "os", "socket", "threading", "time", "websockets"}
# Django calls these when the models exist, which no import at the top may ask for.
MAY_IMPORT_LATE = {("agents_app/apps.py", "ready"), ("config/apps.py", "ready")}


@cache
def modules() -> dict[str, Path]:
    """Return the path of each module by its dotted name; a migration is history, and not looked at."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


@cache
def imported(name: str) -> frozenset[str]:
    """Return what a module imports: our own modules by their whole name, others as they are written."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: expected an absolute import"
            whole = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found.update(path if path in modules() else str(node.module) for path in whole.values())
    return frozenset(found)


def ours(name: str) -> list[str]:
    return sorted(imported(name) & modules().keys())


def layer(name: str) -> str:
    while name not in PLACES:
        assert "." in name, "Expected a place in LAYERS for each module"
        name = name.rpartition(".")[0]
    return PLACES[name]


def part(name: str) -> str:
    """Return which part of its app a module belongs to: sessions_app.views.talk to views."""
    return name.split(".")[1] if "." in name else ""


def test_every_module_has_a_place() -> None:
    without = [name for name in modules() if name != "sessions_app" and not _placed(name)]

    assert without == []


def _placed(name: str) -> bool:
    return name in PLACES or ("." in name and _placed(name.rpartition(".")[0]))


def test_imports_go_downwards_only() -> None:
    upwards = [
        f"{name} ({layer(name)}) imports {other} ({layer(other)})"
        for name in modules()
        if name != "sessions_app"
        for other in ours(name)
        if HEIGHTS[layer(other)] > HEIGHTS[layer(name)]
    ]

    assert upwards == []


@pytest.mark.parametrize(
    ("importer", "never"), [("agents_app", "sessions_app"), ("agents_app", "config"), ("sessions_app", "config")]
)
def test_an_app_knows_nothing_of_what_stands_on_it(importer: str, never: str) -> None:
    found = [
        f"{name} imports {other}"
        for name in modules()
        if name.split(".")[0] == importer
        for other in ours(name)
        if other.split(".")[0] == never
    ]

    assert found == []


def test_pure_modules_reach_for_nothing_outside() -> None:
    found = [
        f"{name} imports {other}"
        for name in modules()
        if name != "sessions_app" and layer(name) == "pure"
        for other in imported(name)
        if other.split(".")[0] in IMPURE
    ]

    assert found == []


@pytest.mark.parametrize("parts", [SHELLS, ENTRIES], ids=["shells", "entries"])
def test_siblings_do_not_import_one_another(parts: tuple[str, ...]) -> None:
    found = [
        f"{name} imports {other}"
        for name in modules()
        if name.startswith("sessions_app.") and part(name) in parts
        for other in ours(name)
        if other.startswith("sessions_app.") and part(other) in parts and part(other) != part(name)
    ]

    assert found == []


def test_the_stand_in_and_what_it_stands_in_for_share_no_code() -> None:
    standin = "sessions_app.standin"
    its_own = [
        f"{name} imports {other}"
        for name in modules()
        if name.startswith(standin)
        for other in ours(name)
        if not other.startswith(standin)
    ]
    of_it = [
        name
        for name in modules()
        if not name.startswith(standin) and any(other.startswith(standin) for other in ours(name))
    ]

    assert its_own == []
    assert of_it == ["sessions_app.management.commands.realtime_standin"]


def test_there_are_no_circles() -> None:
    done: set[str] = set()

    circles = [circle for name in sorted(modules()) for circle in _circles(name, (), done)]

    assert circles == []


def _circles(name: str, above: tuple[str, ...], done: set[str]) -> Iterator[str]:
    if name in above:
        yield " -> ".join((*above[above.index(name) :], name))
    elif name not in done:
        for other in ours(name):
            yield from _circles(other, (*above, name), done)
        done.add(name)


def test_nothing_is_imported_inside_a_function() -> None:
    late = {
        (str(path.relative_to(ROOT)), function.name)
        for path in modules().values()
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }

    assert late == MAY_IMPORT_LATE
