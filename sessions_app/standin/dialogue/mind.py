"""The dialogue: the conversation read again from its start, and what comes next. Deterministic and pure.

Nothing is kept between answers: after a truncation, a deletion or a new session seeded with the same items the
answer follows from what is there, as a model's does.
"""

import re
from typing import Any

from sessions_app.standin.dialogue import values
from sessions_app.standin.dialogue.goals import Goal, Goals, Step
from sessions_app.standin.dialogue.phrases import (
    AGAIN,
    CANNOT_HEAR,
    CHECK,
    GIVE_UP,
    GOODBYE_WORDS,
    HELP,
    LEFT_ALONE,
    NOT_HEARD,
    WAIT,
    WHAT_TO_CHANGE,
    WHICH,
    YES_OR_NO,
)
from sessions_app.standin.dialogue.results import (
    DONE,
    SORRY,
    Record,
    Result,
    read_arguments,
    read_output,
    rendered,
    spoken,
)
from sessions_app.standin.dialogue.scene import Reply, Scene
from sessions_app.standin.dialogue.when import stated_today
from sessions_app.standin.dialogue.words import (
    ENDING,
    GOODBYE,
    HELLO,
    MAX_YES_WORDS,
    NEVER_MIND,
    NO,
    OTHER_CHOICE,
    QUESTION,
    SURE_WORDS,
    THANKS,
    YES,
    best_sentence,
    best_tool,
    first_sentence,
    greeting,
    is_ending,
    matching_sentence,
    matching_tool,
    plain,
    quoted,
    required_of,
)

MAX_CALLS_IN_A_ROW = 6


def decide(scene: Scene) -> Reply:
    """Return what a model would say and call next."""
    allowed = scene.tools if scene.tool_choice != "none" else []
    if scene.own_instructions:
        own = scene.own_instructions
        words = quoted(own) or greeting(own)
        if words or not allowed:
            return Reply(words or first_sentence(own) or HELP)
    mind = Mind(scene, allowed)
    for item in scene.items:
        mind.read(item)
    return mind.reply()


class Mind:
    """What has come of the conversation so far."""

    def __init__(self, scene: Scene, tools: list[dict[str, Any]]) -> None:
        self._scene = scene
        self._goals = Goals(tools, stated_today(scene.instructions, scene.today))
        self._calls: dict[str, tuple[str, Record]] = {}
        self._news: list[Result] = []
        self._asked_to_confirm: Result | None = None
        self._remark = ""
        self._next: Reply | None = None
        self._calls_in_a_row = 0
        self._spoken_to = False

    def read(self, item: Any) -> None:
        """Take in the next item."""
        wire = item.wire
        if wire["type"] == "message" and wire["role"] == "user":
            self._hear(item.text.strip(), deaf=item.deaf)
        elif wire["type"] == "message" and wire["role"] == "assistant":
            self._news, self._remark = [], ""
        elif wire["type"] == "message":
            self._remark = quoted(item.text) or ""
        elif wire["type"] == "function_call":
            self._goals.step()  # what must be done first is on the stack before its result comes
            self._calls[wire["call_id"]] = (wire["name"], read_arguments(wire["arguments"]))
            self._calls_in_a_row += 1
        elif wire["type"] == "function_call_output" and wire["call_id"] in self._calls:
            name, arguments = self._calls[wire["call_id"]]
            self._returned(read_output(name, wire["output"], arguments, len(self._goals.said)))

    def reply(self) -> Reply:
        """Return what comes next, after the last item."""
        if not self._spoken_to and not self._news:
            return Reply(self._remark or greeting(self._scene.instructions) or f"Hello. {HELP}")
        if self._next is not None and not self._news:
            return self._next
        lead = " ".join(dict.fromkeys(part for part in (self._remark, self._told()) if part))
        step = self._goals.step()
        if step and step.kind == "stuck" and self._news and not lead.endswith("?"):
            return Reply(_joined(lead, CHECK))
        if self._asked_to_confirm or step is None or step.kind == "stuck":
            return Reply(_joined(lead or AGAIN, self._offer()))
        if step.kind == "call":
            return self._call(step.tool, step.arguments, lead)
        if step.kind == "choose":
            offered = "" if self._was_told(step) else rendered(list(step.records))
            return Reply(_joined(lead, offered, "" if lead.endswith("?") else WHICH))
        asked = values.question(step.name, self._goals.schema(step.tool, step.name))
        return Reply(asked if lead.endswith(asked) else _joined(lead, asked))

    def _call(self, tool: str, arguments: Record, lead: str = "") -> Reply:
        if self._calls_in_a_row >= MAX_CALLS_IN_A_ROW or tool not in self._goals.tools:
            return Reply(_joined(lead, GIVE_UP))
        # Only the first call of a turn is announced: in a chain the caller has been told to wait.
        return Reply("" if self._calls_in_a_row else WAIT, [(tool, arguments)])

    def _told(self) -> str:
        """Return what is said of the results that have come since the last words.

        What only serves a larger goal goes without saying, unless it is a list to choose from or has words of its own.
        """
        if not self._news:
            return ""
        step = self._goals.step()
        if all(result.ok and is_ending(result.tool) for result in self._news):
            return "Goodbye."
        told = [result for result in self._news if not result.serves or result is self._news[-1]]
        said = [spoken(result) for result in told if not (result.ok and step and step.kind == "call")]
        if step and step.kind in ("ask", "choose"):
            said = [text for text in said if text not in (DONE, SORRY)]
        return " ".join(said)

    def _offer(self) -> str:
        """Return the question after a list that another tool can take one of."""
        last = self._news[-1] if self._news and not self._goals.stack else None
        if last is None or not last.ok or spoken(last).endswith("?"):
            return ""
        wanted = {name for tool in self._goals.tools.values() for name in required_of(tool) if values.is_opaque(name)}
        return WHICH if any(len(last.records_with(name)) > 1 for name in wanted) else ""

    def _was_told(self, step: Step) -> bool:
        """Tell whether the list to choose from is read in this answer already."""
        return any(result.ok and result.records_with(step.name) for result in self._news)

    def _hear(self, text: str, *, deaf: bool) -> None:
        self._spoken_to = True
        self._calls_in_a_row, self._news, self._next = 0, [], None
        idle_words, self._remark = self._remark, ""
        if not text:
            self._next = Reply(CANNOT_HEAR if deaf else idle_words or NOT_HEARD)
            return
        step = None if self._asked_to_confirm else self._goals.step()
        self._goals.said.append(text)
        said = plain(text)
        if self._goals.stack and NEVER_MIND.search(said):
            self._goals.stack.clear()
            self._asked_to_confirm = None
            self._next = Reply(LEFT_ALONE)
        elif self._asked_to_confirm:
            self._hear_answer(text, self._asked_to_confirm)
        elif step:
            self._hear_for(step, text)
        elif not self._begin(text):
            self._next = Reply(self._small_talk(said))

    def _hear_answer(self, text: str, asked: Result) -> None:
        """Take the answer to a recap: the same call for a yes, otherwise what is to be changed."""
        said, goal = plain(text), self._goals.top
        if YES.search(said) and not NO.search(said) and len(said.split()) <= MAX_YES_WORDS:
            self._asked_to_confirm = None
            self._next = self._call(asked.tool, asked.arguments)
            return
        if goal is None:
            self._asked_to_confirm = None
            self._next = None if self._begin(text) else Reply(AGAIN)
        elif self._change(goal, text):
            self._asked_to_confirm = None
        elif NO.search(said):
            self._next = Reply(WHAT_TO_CHANGE)
        elif matching_tool(text, list(self._goals.tools.values()))[1] >= SURE_WORDS and self._switches(text):
            self._asked_to_confirm = None
        else:
            # A fact is told, and the recap stays open.
            self._next = Reply(_joined(self._answer(text) or "", YES_OR_NO))

    def _change(self, goal: Goal, text: str) -> bool:
        for name in [one for one in goal.values if values.is_opaque(one) and len(self._goals.known(one)) > 1]:
            chosen = self._goals.choice(name, text)
            if chosen is not None and chosen != goal.values[name]:
                goal.values[name] = chosen
                return True
        if self._goals.fill(goal, text):
            return True
        if OTHER_CHOICE.search(plain(text)) and self._goals.drop_choices(goal):
            self._remark = "All right."
            return True
        return False

    def _hear_for(self, step: Step, text: str) -> None:
        """Take words said while a goal is under way."""
        goal = self._goals.top
        assert goal is not None
        if step.kind == "stuck":
            self._hear_after_refusal(goal, text)
        elif step.kind == "choose":
            self._hear_choice(goal, step, text)
        elif step.kind == "ask":
            self._hear_value(goal, step, text)

    def _hear_value(self, goal: Goal, step: Step, text: str) -> None:
        schema = self._goals.schema(goal.tool, step.name)
        value = values.parse(step.name, schema, text, today=self._goals.today, asked=True)
        kind = values.kind_of(step.name, schema)
        elsewhere = kind in values.FREE_KINDS and bool(QUESTION.search(plain(text)))
        if kind == "name" and matching_sentence(text, self._scene.instructions)[1] >= SURE_WORDS:
            elsewhere = True
        if value is not None and not elsewhere:
            self._goals.take(goal, step.name, value)
            if kind == "name":
                self._take_other_names(goal, text)
            return
        if self._switches(text) or self._goals.fill(goal, text):
            return
        self._remark = self._answer(text) or "Sorry, I did not get that."

    def _take_other_names(self, goal: Goal, text: str) -> None:
        """Take the last name too when the caller gave both at once."""
        for name in required_of(self._goals.tools[goal.tool]):
            schema = self._goals.schema(goal.tool, name)
            if name not in goal.values and values.kind_of(name, schema) == "name" and "last" in name:
                whole = values.parse("name", {}, text, today=self._goals.today, asked=True)
                if isinstance(whole, str) and " " in whole:
                    self._goals.take(goal, name, whole.partition(" ")[2])

    def _hear_choice(self, goal: Goal, step: Step, text: str) -> None:
        chosen = self._goals.choice(step.name, text)
        if chosen is not None:
            goal.values[step.name] = chosen
            return
        source = next((r for r in reversed(self._goals.results) if r.ok and r.records_with(step.name)), None)
        if source and source.tool in self._goals.tools:
            # Another day than those on offer: ask the same tool again, with what is new over what was.
            again = Goal(source.tool, len(self._goals.said), dict(source.arguments))
            if self._goals.fill(again, text):
                self._goals.stack.append(again)
                return
        if not self._switches(text):
            self._remark = self._answer(text) or "Sorry, I did not get that."

    def _hear_after_refusal(self, goal: Goal, text: str) -> None:
        if self._goals.fill(goal, text):
            goal.blocked = False
        elif not self._switches(text):
            said = plain(text)
            if NO.search(said) and not YES.search(said):
                self._goals.stack.clear()
                self._next = Reply(LEFT_ALONE)
            elif answer := self._answer(text):
                self._next = Reply(answer)
            else:
                self._goals.forget(goal)

    def _switches(self, text: str) -> bool:
        """Begin another tool if the words clearly mean one."""
        tool, tool_words = matching_tool(text, list(self._goals.tools.values()))
        if matching_sentence(text, self._scene.instructions)[1] > tool_words:
            return False
        if tool is None or any(goal.tool == tool and not goal.blocked for goal in self._goals.stack):
            return False
        top = self._goals.top
        if top and not top.blocked:
            # The caller has turned to something else; what only prepared the old goal goes with it.
            self._goals.stack.clear()
        self._goals.replace(tool, since=len(self._goals.said) - 1)
        return True

    def _begin(self, text: str) -> bool:
        """Find what the words ask for when nothing is under way; tell whether they ask for anything."""
        said, tools = plain(text), list(self._goals.tools.values())
        if GOODBYE.search(said) and not QUESTION.search(said):
            self._next = self._goodbye()
            return True
        if self._choose_unasked(text):
            return True
        if parallel := self._several(text):
            self._next = Reply(WAIT, parallel)
            return True
        tool, tool_words = matching_tool(text, tools)
        answer, answer_words = matching_sentence(text, self._scene.instructions)
        if tool and (answer is None or tool_words >= answer_words):
            self._goals.replace(tool, since=len(self._goals.said) - 1)
            return True
        if answer:
            self._next = Reply(answer)
        return answer is not None

    def _several(self, text: str) -> list[tuple[str, object]]:
        """Return the calls for two or more things asked at once, when each needs nothing more to be known."""
        clauses = [clause for clause in re.split(r"\band\b|[?.]", text) if clause.strip()]
        tools = list(self._goals.tools.values())
        found = [name for name in (best_tool(clause, tools) for clause in clauses) if name]
        distinct = list(dict.fromkeys(found))
        if len(distinct) < 2 or any(required_of(self._goals.tools[name]) for name in distinct):
            return []
        return [(name, {}) for name in distinct]

    def _choose_unasked(self, text: str) -> bool:
        """Begin the tool that takes what the caller picks from a list that was just read."""
        last = self._goals.results[-1] if self._goals.results else None
        if last is None or not last.ok:
            return False
        for name, tool in self._goals.tools.items():
            for argument in required_of(tool):
                if values.is_opaque(argument) and (records := last.records_with(argument)) and name != last.tool:
                    chosen = self._goals.choice(argument, text)
                    if chosen is not None and records:
                        wanted = best_tool(text, [t for t in self._goals.tools.values() if argument in required_of(t)])
                        self._goals.replace(wanted or name, since=last.heard_after, **{argument: chosen})
                        return True
        return False

    def _goodbye(self) -> Reply:
        ranked = best_tool(ENDING, list(self._goals.tools.values()))
        if ranked is None or not is_ending(ranked):
            return Reply(GOODBYE_WORDS)
        arguments: Record = {}
        for name in required_of(self._goals.tools[ranked]):
            options = values.choices(self._goals.schema(ranked, name))
            arguments[name] = options[0] if options else "The caller said goodbye."
        return Reply(GOODBYE_WORDS, [(ranked, arguments)])

    def _answer(self, text: str) -> str | None:
        return best_sentence(text, self._scene.instructions)

    def _small_talk(self, said: str) -> str:
        if HELLO.search(said):
            return f"Hello. {HELP}"
        if THANKS.search(said):
            return "You are welcome. Is there anything else I can do for you?"
        return AGAIN

    def _returned(self, result: Result) -> None:
        goals = self._goals
        goals.results.append(result)
        self._news.append(result)
        self._next = None
        self._asked_to_confirm = result if result.wants_confirmation else None
        goal = next((one for one in goals.stack if one.tool == result.tool), None)
        if result.ok:
            if goal:
                result.serves = goal is not goals.stack[0]
                del goals.stack[goals.stack.index(goal) :]
            return
        if goal is None or result.wants_confirmation:
            return
        goal.values.update({key: value for key, value in result.arguments.items() if key not in goal.values})
        if remedy := self._remedy(result):
            result.serves = True
            goals.push(remedy, since=goal.since)
        elif not goals.drop_choices(goal):
            goal.blocked = True

    def _remedy(self, result: Result) -> str | None:
        """Return the tool that a refusal names as what is to be done first."""
        tried = {other.tool for other in self._goals.results if other.heard_after == result.heard_after}
        about = f"{result.code} {result.message} {result.data if isinstance(result.data, dict) else ''}"
        named = [name for name in self._goals.tools if re.search(rf"\b{re.escape(name)}\b", about)]
        named = [name for name in named if name not in tried]
        if named:
            return named[0]
        if not re.search(r"identif|verif|required|unknown|missing", result.code):
            return None
        others = [tool for name, tool in self._goals.tools.items() if name not in tried]
        return best_tool(f"{result.code} {result.message}".replace("_", " "), others)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
