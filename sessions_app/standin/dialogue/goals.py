"""What the caller wants done: a stack of tools, each with the values found for its arguments. Pure.

The lowest goal is what the caller asked for; those above it are what must be done first.
"""

import datetime
import re
from dataclasses import dataclass, field

from sessions_app.standin.dialogue import values
from sessions_app.standin.dialogue.results import Record, Result, choose
from sessions_app.standin.dialogue.words import properties_of, required_of, stems

Tool = dict[str, object]

FIRST = re.compile(
    r"\b(after|first|from|by|needs?|requires?|once|returned|offered|found|given|identified|must)\b", re.I
)
LATER = re.compile(r"\b(before|then|instead|not|never|afterwards|unless)\b", re.I)
MAX_DEPTH = 4


@dataclass
class Goal:
    tool: str
    since: int
    """How many things the caller had said before the one that began it."""
    values: Record = field(default_factory=dict)
    blocked: bool = False
    """It was refused: nothing more is done until the caller says something."""


@dataclass(frozen=True)
class Step:
    """What comes next for the goal on top."""

    kind: str
    """ask, choose, call or stuck."""
    tool: str = ""
    name: str = ""
    records: list[Record] = field(default_factory=list)
    arguments: Record = field(default_factory=dict)


class Goals:
    """The stack, and all that is known to fill it from."""

    def __init__(self, tools: list[Tool], today: datetime.date) -> None:
        self.tools = {str(tool["name"]): tool for tool in tools}
        self.stack: list[Goal] = []
        self.said: list[str] = []
        self.results: list[Result] = []
        self.facts: Record = {}
        self.today = today

    @property
    def top(self) -> Goal | None:
        return self.stack[-1] if self.stack else None

    def push(self, tool: str, *, since: int, **known: object) -> None:
        if len(self.stack) < MAX_DEPTH and all(goal.tool != tool for goal in self.stack):
            self.stack.append(Goal(tool, since, dict(known)))

    def replace(self, tool: str, *, since: int, **known: object) -> None:
        """Begin something new; what was refused, or is done in another way now, is let go."""
        while self.top and (self.top.blocked or self.top.tool == tool):
            self.stack.pop()
        self.push(tool, since=since, **known)

    def schema(self, tool: str, name: str) -> values.Schema:
        return properties_of(self.tools[tool]).get(name, {})

    def step(self) -> Step | None:
        """Return what the goal on top needs next; pushes what must be done before it."""
        goal = self.top
        if goal is None:
            return None
        if goal.blocked:
            return Step("stuck", goal.tool)
        if earlier := self._to_do_first(goal):
            self.push(earlier, since=goal.since)
            return self.step()
        self._pick(goal)
        for name in required_of(self.tools[goal.tool]):
            if name in goal.values:
                continue
            records = self.known(name)
            if len(records) == 1 and (values.is_opaque(name) or not self._is_askable(goal.tool, name)):
                goal.values[name] = records[0][name]
            elif records and values.is_opaque(name):
                return Step("choose", goal.tool, name, records)
            elif values.is_opaque(name) and (source := self.source_of(goal.tool, name)):
                self.push(source, since=goal.since)
                return self.step()
            else:
                return Step("ask", goal.tool, name)
        return Step("call", goal.tool, arguments=dict(goal.values))

    def known(self, name: str) -> list[Record]:
        """Return the objects that have `name`, from the latest result with any."""
        for result in reversed(self.results):
            if records := result.records_with(name):
                return records
        return []

    def choice(self, name: str, text: str) -> object | None:
        return choose(self.known(name), text, key=name, today=self.today)

    def source_of(self, tool: str, name: str) -> str | None:
        """Return the tool whose words say that it gives `name`, if one does."""
        about = str(self.schema(tool, name).get("description", ""))
        named = [other for other in self.tools if other != tool and re.search(rf"\b{re.escape(other)}\b", about)]
        if named:
            return named[0]
        wanted = stems(re.sub(r"_(id|ids|token|key|ref)$", "", name))
        ranking = []
        for order, (other, definition) in enumerate(self.tools.items()):
            if other == tool or name in properties_of(definition):
                continue  # what takes a thing does not give it
            shared = len(wanted & stems(other)) * 2 + len(wanted & stems(str(definition.get("description", ""))))
            gives = bool(re.search(rf"\b{re.escape(name)}\b", str(definition.get("description", ""))))
            ranking.append((-(shared + 4 * gives), len(required_of(definition)), order, other))
        ranking.sort()
        return ranking[0][3] if ranking and ranking[0][0] < 0 else None

    def fill(self, goal: Goal, text: str) -> bool:
        """Take every value that `text` holds for the goal, new ones over old; tell whether there was one."""
        found = False
        for name in self._arguments(goal.tool):
            schema = self.schema(goal.tool, name)
            value = values.parse(name, schema, text, today=self.today, asked=False)
            if value is not None and value != goal.values.get(name):
                self.take(goal, name, value)
                found = True
        return found

    def take(self, goal: Goal, name: str, value: object) -> None:
        goal.values[name] = value
        if values.is_identity(name, self.schema(goal.tool, name)):
            self.facts[name] = value

    def forget(self, goal: Goal) -> None:
        """Let go of what was said for a goal that was refused: it was wrong."""
        for name in goal.values:
            self.facts.pop(name, None)
        goal.values.clear()
        goal.since, goal.blocked = len(self.said), False

    def drop_choices(self, goal: Goal) -> bool:
        """Let go of what was chosen from a list; tell whether there was such a thing."""
        chosen = [name for name in goal.values if values.is_opaque(name) and len(self.known(name)) > 1]
        for name in chosen:
            del goal.values[name]
        return bool(chosen)

    def succeeded(self, tool: str) -> bool:
        return any(result.ok and result.tool == tool for result in self.results)

    def _arguments(self, tool: str) -> list[str]:
        required, properties = required_of(self.tools[tool]), properties_of(self.tools[tool])
        optional = [name for name in properties if name not in required]
        return required + [n for n in optional if values.kind_of(n, properties[n]) in values.OPTIONAL_KINDS]

    def _pick(self, goal: Goal) -> None:
        """Fill what the caller has already said, what a goal below it holds, and facts that stay true."""
        for name in properties_of(self.tools[goal.tool]):
            below = [other.values[name] for other in self.stack if other is not goal and name in other.values]
            if below and name not in goal.values:
                goal.values[name] = below[-1]
        for name in self._arguments(goal.tool):
            if name in goal.values or values.is_opaque(name):
                continue
            schema = self.schema(goal.tool, name)
            heard = self.said[goal.since :]
            if values.is_identity(name, schema) and name not in self.facts:
                heard = self.said
            elif values.kind_of(name, schema) == "own words":
                heard = self.said[goal.since : goal.since + 1]  # what began it, not an answer to something else
            for text in reversed(heard):
                value = values.parse(name, schema, text, today=self.today, asked=False)
                if value is not None:
                    self.take(goal, name, value)
                    break
            else:
                if name in self.facts:
                    goal.values[name] = self.facts[name]

    def _to_do_first(self, goal: Goal) -> str | None:
        """Return a tool that the goal's own description says comes before it, unless one such was done."""
        about = str(self.tools[goal.tool].get("description", ""))
        for sentence in re.split(r"(?<=[.;])\s+", about):
            if LATER.search(sentence) or not FIRST.search(sentence):
                continue
            named = [other for other in self.tools if re.search(rf"\b{re.escape(other)}\b", sentence)]
            named = [other for other in named if other != goal.tool]
            if named and not any(self.succeeded(other) for other in named):
                return named[0]
        return None

    def _is_askable(self, tool: str, name: str) -> bool:
        return values.kind_of(name, self.schema(tool, name)) not in values.FREE_KINDS or not self.known(name)
