"""The session object: its defaults, what an update may change, and how it is merged. Pure."""

import copy
from collections.abc import Callable

from sessions_app.standin.wire import Json, Refusal, invalid_value, missing_parameter, unknown_parameter

Check = Callable[[object, str], None]

SESSION_SECONDS = 3600
DEFAULT_INSTRUCTIONS = "You are a helpful, friendly assistant. Talk in short sentences."
DEFAULT_VOICE = "marin"
VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
PCM = {"type": "audio/pcm", "rate": 24000}
SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
SEMANTIC_VAD = {"type": "semantic_vad", "eagerness": "auto", "create_response": True, "interrupt_response": True}
IDLE_TIMEOUT_MS = (5000, 30000)
MAX_OUTPUT_TOKENS = 4096
TRANSCRIPTION_KEYS = {"model", "language", "languages", "keywords", "prompt", "delay"}


def new_session(*, session_id: str, model: str, expires_at: int) -> Json:
    """Return the full session object with every key that the service shows, defaults filled in."""
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": DEFAULT_INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {
            "input": {
                "format": dict(PCM),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": dict(SERVER_VAD),
            },
            "output": {"format": dict(PCM), "voice": DEFAULT_VOICE, "speed": 1.0},
        },
        "include": None,
    }


def updated_session(session: Json, update: object, *, audio_was_spoken: bool) -> Json:
    """Return `session` with `update` merged into it; the one given is left as it was.

    Raises Refusal, with the path of what is wrong, when any part may not be applied.
    """
    if not isinstance(update, dict):
        raise missing_parameter("session")
    if "type" not in update:
        raise missing_parameter("session.type")
    merged = copy.deepcopy(session)
    _merge(merged, update, FIELDS, "session")
    if merged["model"] != session["model"]:
        raise invalid_value("session.model", "The model of a session cannot be changed.")
    voice, old_voice = merged["audio"]["output"]["voice"], session["audio"]["output"]["voice"]
    if audio_was_spoken and voice != old_voice:
        raise Refusal(
            "cannot_update_voice",
            "Cannot update a conversation's voice if assistant audio is present.",
            param="session.audio.output.voice",
        )
    for side in merged["audio"].values():
        if side["format"]["type"] == "audio/pcm":
            side["format"] = dict(PCM)
    if not merged["instructions"]:
        # Recorded: an empty string brings the default persona back.
        merged["instructions"] = DEFAULT_INSTRUCTIONS
    return merged


def _merge(target: Json, update: Json, fields: Json, path: str) -> None:
    for key, value in update.items():
        where = f"{path}.{key}"
        if key not in fields:
            raise unknown_parameter(where)
        rule = fields[key]
        if isinstance(rule, dict):
            _expect(isinstance(value, dict), where, "an object")
            _merge(target[key], value, rule, where)
        elif key == "turn_detection":
            target[key] = _turn_detection(target[key], value, where)
        else:
            rule(value, where)
            target[key] = copy.deepcopy(value)


def _turn_detection(current: Json | None, value: object, where: str) -> Json | None:
    if value is None:
        return None
    _expect(isinstance(value, dict), where, "an object or null")
    assert isinstance(value, dict)
    kind = value.get("type", (current or SERVER_VAD)["type"])
    if kind not in ("server_vad", "semantic_vad"):
        raise invalid_value(
            f"{where}.type", f"Invalid value: '{kind}'. Supported values are: 'server_vad' and 'semantic_vad'."
        )
    defaults = SERVER_VAD if kind == "server_vad" else SEMANTIC_VAD
    for key, setting in value.items():
        if key not in defaults:
            raise unknown_parameter(f"{where}.{key}")
        TURN_FIELDS[key](setting, f"{where}.{key}")
    base = current if current and current["type"] == kind else defaults
    return {**base, **value}


def _expect(holds: bool, where: str, expected: str) -> None:
    if not holds:
        raise Refusal("invalid_type", f"Invalid type for '{where}': expected {expected}.", param=where)


def _string(value: object, where: str) -> None:
    _expect(isinstance(value, str), where, "a string")


def _boolean(value: object, where: str) -> None:
    _expect(isinstance(value, bool), where, "a boolean")


def _anything(value: object, where: str) -> None:
    """Accept what the stand-in only echoes."""


def _one_of(*values: str) -> Check:
    def check(value: object, where: str) -> None:
        if value not in values:
            listed = ", ".join(f"'{one}'" for one in values)
            raise invalid_value(where, f"Invalid value: '{value}'. Supported values are: {listed}.")

    return check


def _number(low: float, high: float, *, nullable: bool = False) -> Check:
    def check(value: object, where: str) -> None:
        if value is None and nullable:
            return
        _expect(isinstance(value, int | float) and not isinstance(value, bool), where, "a number")
        assert isinstance(value, int | float)
        if not low <= value <= high:
            raise invalid_value(where, f"Invalid value: {value}. Expected a value between {low} and {high}.")

    return check


def _modalities(value: object, where: str) -> None:
    if value not in (["audio"], ["text"]):
        raise invalid_value(where, "Invalid modalities. Supported combinations are: ['text'] and ['audio'].")


def _format(value: object, where: str) -> None:
    _expect(isinstance(value, dict), where, "an object")
    if value not in (PCM, {"type": "audio/pcm"}, {"type": "audio/pcmu"}, {"type": "audio/pcma"}):
        raise invalid_value(where, "Supported formats are audio/pcm at rate 24000, audio/pcmu and audio/pcma.")


def _voice(value: object, where: str) -> None:
    if isinstance(value, dict) and set(value) == {"id"}:
        return
    _one_of(*VOICES)(value, where)


def _transcription(value: object, where: str) -> None:
    if value is None:
        return
    _expect(isinstance(value, dict), where, "an object or null")
    assert isinstance(value, dict)
    for key in value:
        if key not in TRANSCRIPTION_KEYS:
            raise unknown_parameter(f"{where}.{key}")


def _noise_reduction(value: object, where: str) -> None:
    if value is None:
        return
    _expect(isinstance(value, dict), where, "an object or null")
    assert isinstance(value, dict)
    _one_of("near_field", "far_field")(value.get("type"), f"{where}.type")


def _tools(value: object, where: str) -> None:
    _expect(isinstance(value, list), where, "an array")
    assert isinstance(value, list)
    for index, tool in enumerate(value):
        place = f"{where}[{index}]"
        _expect(isinstance(tool, dict), place, "an object")
        _one_of("function", "mcp")(tool.get("type"), f"{place}.type")
        if tool["type"] == "function":
            if "name" not in tool:
                raise missing_parameter(f"{place}.name")
            for key in tool:
                if key not in {"type", "name", "description", "parameters"}:
                    raise unknown_parameter(f"{place}.{key}")


def _tool_choice(value: object, where: str) -> None:
    if not isinstance(value, dict):
        _one_of("auto", "none", "required")(value, where)


def _max_output_tokens(value: object, where: str) -> None:
    if value != "inf":
        _number(1, MAX_OUTPUT_TOKENS)(value, where)


TURN_FIELDS: dict[str, Check] = {
    "type": _string,
    "threshold": _number(0, 1),
    "prefix_padding_ms": _number(0, 10_000),
    "silence_duration_ms": _number(0, 30_000),
    "idle_timeout_ms": _number(*IDLE_TIMEOUT_MS, nullable=True),
    "eagerness": _one_of("auto", "low", "medium", "high"),
    "create_response": _boolean,
    "interrupt_response": _boolean,
}

FIELDS: Json = {
    "type": _one_of("realtime"),
    "model": _string,
    "instructions": _string,
    "output_modalities": _modalities,
    "audio": {
        "input": {
            "format": _format,
            "transcription": _transcription,
            "noise_reduction": _noise_reduction,
            "turn_detection": _anything,
        },
        "output": {"format": _format, "voice": _voice, "speed": _number(0.25, 1.5)},
    },
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _boolean,
    "reasoning": _anything,
    "max_output_tokens": _max_output_tokens,
    "truncation": _anything,
    "tracing": _anything,
    "include": _anything,
    "prompt": _anything,
}

RESPONSE_FIELDS: Json = {
    "instructions": _string,
    "output_modalities": _modalities,
    "audio": _anything,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _boolean,
    "reasoning": _anything,
    "max_output_tokens": _max_output_tokens,
    "metadata": _anything,
    "conversation": _one_of("auto", "none"),
    "input": _anything,
    "prompt": _anything,
}


def checked_response(settings: object) -> Json:
    """Return the `response` of a `response.create`, checked. Raises Refusal."""
    if settings is None:
        return {}
    _expect(isinstance(settings, dict), "response", "an object")
    assert isinstance(settings, dict)
    for key, value in settings.items():
        if key not in RESPONSE_FIELDS:
            raise unknown_parameter(f"response.{key}")
        if value is not None:
            RESPONSE_FIELDS[key](value, f"response.{key}")
    return settings
