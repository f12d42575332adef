"""The HTTP requests beside the socket: keys, calls, speech, health. Raw ASGI in, a status and a body out."""

import email.message
import email.parser
import email.policy
import json
from dataclasses import dataclass, field

from sessions_app.standin.calls import Calls, answer_to
from sessions_app.standin.configuration import new_session, updated_session
from sessions_app.standin.formats import INSIDE_RATE
from sessions_app.standin.keys import KeyRing
from sessions_app.standin.session import Engine, Session
from sessions_app.standin.voice import Voice
from sessions_app.standin.wire import Json, Refusal, invalid_value, missing_parameter, new_id

DEFAULT_MODEL = "gpt-realtime-2.1"
KEY_SECONDS = (10, 7200)
DEFAULT_KEY_SECONDS = 600
MAX_SPEECH_CHARACTERS = 4096
CALL_ACTIONS = ("hangup", "accept", "reject", "refer")
STATUS_OF = {"invalid_api_key": 401, "call_id_not_found": 404, "unknown_url": 404, "voice_unavailable": 503}


@dataclass
class Request:
    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str:
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == wanted), "")

    def json(self) -> Json:
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            raise Refusal("invalid_json", "We could not parse the JSON body of your request.") from None
        if not isinstance(value, dict):
            raise Refusal("invalid_json", "Expected the JSON body to be an object.")
        return value


@dataclass
class Answer:
    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(status: int, body: object) -> Answer:
    return Answer(status, json.dumps(body).encode())


def error_answer(refusal: Refusal) -> Answer:
    return json_answer(STATUS_OF.get(refusal.code or "", 400), {"error": refusal.as_error()})


class Rest:
    """Answers each request; a refusal becomes an error body in OpenAI's shape."""

    def __init__(self, engine: Engine, voice: Voice, keys: KeyRing, calls: Calls) -> None:
        self._engine = engine
        self._voice = voice
        self._keys = keys
        self._calls = calls

    async def answer(self, request: Request) -> Answer:
        try:
            if request.path == "/healthz":
                return json_answer(200, {"status": "ok", "voice": self._voice.name})
            key_session = self._keys.check(request.headers)
            return await self._authorised(request, key_session)
        except Refusal as refusal:
            return error_answer(refusal)

    async def _authorised(self, request: Request, key_session: Json | None) -> Answer:
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["v1", "realtime", "client_secrets"]:
                return self._mint(request.json())
            case "POST", ["v1", "realtime", "calls"]:
                return self._begin_call(request, key_session)
            case "POST", ["v1", "realtime", "calls", call_id, action] if action in CALL_ACTIONS:
                return self._act_on_call(call_id, action)
            case "POST", ["v1", "audio", "speech"]:
                return await self._speak(request.json())
        raise Refusal("unknown_url", f"Invalid URL ({request.method} {request.path})")

    def _mint(self, body: Json) -> Answer:
        after = body.get("expires_after") or {}
        seconds = after.get("seconds", DEFAULT_KEY_SECONDS) if isinstance(after, dict) else None
        if not isinstance(seconds, int) or not KEY_SECONDS[0] <= seconds <= KEY_SECONDS[1]:
            raise invalid_value("expires_after.seconds", "Expected a value between 10 and 7200.")
        # Recorded: a session that has not started shows no end of its own.
        session = _configured(body.get("session") or {"type": "realtime"}, expires_at=0)
        value, expires_at = self._keys.mint(session, seconds)
        return json_answer(200, {"value": value, "expires_at": expires_at, "session": session})

    def _begin_call(self, request: Request, key_session: Json | None) -> Answer:
        offer, session = _offer_and_session(request)
        configuration = _configured(session, expires_at=0) if session else key_session
        if "v=0" not in offer:
            raise invalid_value("sdp", "Expected an SDP offer.")
        model = (configuration or {}).get("model", DEFAULT_MODEL)
        live = Session(self._engine, model=model, configuration=configuration, beside_call=True)
        location = f"/v1/realtime/calls/{self._calls.begin(live)}"
        headers = {"Location": location, "Access-Control-Expose-Headers": "Location, X-Request-Id"}
        return Answer(201, answer_to(offer).encode(), "text/plain; charset=utf-8", headers)

    def _act_on_call(self, call_id: str, action: str) -> Answer:
        if action in ("hangup", "reject"):
            self._calls.hang_up(call_id)
        else:
            self._calls.find(call_id)
        return Answer(200)

    async def _speak(self, body: Json) -> Answer:
        text = body.get("input")
        if not isinstance(text, str) or not text.strip():
            raise missing_parameter("input")
        if len(text) > MAX_SPEECH_CHARACTERS:
            raise Refusal("string_above_max_length", "Expected at most 4096 characters.", param="input")
        if body.get("response_format") != "pcm":
            raise invalid_value("response_format", "The stand-in speaks pcm only: 24 kHz, 16 bit, mono.")
        if not self._voice.real:
            raise Refusal("voice_unavailable", "No speech engine is installed here.", kind="server_error")
        pcm = await self._voice.sound(text, voice=str(body.get("voice", "")), speed=float(body.get("speed", 1.0)))
        return Answer(200, pcm, f"audio/pcm;rate={INSIDE_RATE}")


def _configured(session: object, *, expires_at: int) -> Json:
    """Return a full session object from the one in a request. Raises Refusal."""
    if not isinstance(session, dict):
        raise missing_parameter("session")
    model = session.get("model", DEFAULT_MODEL)
    fresh = new_session(session_id=new_id("sess"), model=model, expires_at=expires_at)
    return updated_session(fresh, session, audio_was_spoken=False)


def _offer_and_session(request: Request) -> tuple[str, Json | None]:
    content_type = request.header("content-type")
    if not content_type.startswith("multipart/form-data"):
        return request.body.decode("utf-8", "replace"), None
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + content_type.encode("latin-1") + b"\r\n\r\n" + request.body)
    parts = {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
        for part in message.iter_parts()
        if isinstance(part, email.message.EmailMessage)
    }
    offer, session = parts.get("sdp"), parts.get("session")
    if not isinstance(offer, bytes):
        raise missing_parameter("sdp")
    if not isinstance(session, bytes):
        return offer.decode("utf-8", "replace"), None
    try:
        return offer.decode("utf-8", "replace"), json.loads(session)
    except ValueError:
        raise Refusal("invalid_json", "The part 'session' is not JSON.", param="session") from None
