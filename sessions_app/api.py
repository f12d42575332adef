"""`POST /v1/realtime/client_secrets`: our own keys, asked for and answered as OpenAI's are.

No cookie is read. A page shows its origin, which must be on the clinic's list; a server shows the clinic's API token.
Errors have OpenAI's shape, and an unknown agent and one that was never published are answered alike.
"""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import APIException, ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from agents_app.access import access_of
from agents_app.models import Agent, ApiToken, Clinic, ClinicOrigin, KeyRefusal, normal_origin
from sessions_app.addresses import AddressDigests
from sessions_app.client_secrets import (
    NOTICE_ANSWERS,
    Notice,
    client_address,
    count_start,
    is_loopback,
    live_version,
    mint,
    origin_of,
)
from sessions_app.ledger import has_room
from sessions_app.models import Place
from sessions_app.opening import BUDGET_SPENT, BUSY

MAX_BODY_BYTES = 16 * 1024


class SessionAsked(serializers.Serializer[Any]):
    type = serializers.ChoiceField(["realtime"])
    model = serializers.CharField(max_length=50)


class NoticeSeen(serializers.Serializer[Any]):
    notice_sha256 = serializers.RegexField(r"^[0-9a-f]{64}$")
    recording = serializers.ChoiceField(NOTICE_ANSWERS)


class KeyAsked(serializers.Serializer[Any]):
    session = SessionAsked()
    frontdesk = NoticeSeen(required=False)


class ApiError(APIException):
    """An error as OpenAI words it: type, code, message, param."""

    def __init__(self, status: int, code: str, message: str, *, kind: str = "invalid_request_error", param: Any = None):
        super().__init__(message)
        self.status_code = status
        self.body = {"error": {"type": kind, "code": code, "message": message, "param": param}}


class ClientSecretsView(APIView):
    authentication_classes = ()
    permission_classes = ()

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        asked = _read(request)
        agent = Agent.objects.published(asked["session"]["model"])
        token = _token(request)
        origin = origin_of(request.headers.get("Origin", ""))
        # A token is for servers: a page that held one would show it to everybody.
        welcome = not origin if token is not None else _welcome(request, agent, origin)
        if not welcome:
            raise ApiError(403, "origin_not_allowed", _("This site may not call this receptionist"))
        if agent is None or (token is not None and token.clinic_id != agent.clinic_id):
            raise ApiError(404, "model_not_found", _("There is no such receptionist"), param="session.model")
        _check_room(request, agent, by_token=token is not None)
        seen = asked.get("frontdesk")
        notice = Notice(seen["notice_sha256"], seen["recording"]) if seen else Notice()
        value, row = mint(agent, origin=origin, api_token=token, notice=notice)
        session = {"type": "realtime", "object": "realtime.session", "id": f"sess_{row.pk}", "model": agent.public_name}
        return Response({"value": value, "expires_at": int(row.expires_at.timestamp()), "session": session})

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """A preflight names no agent: an origin on any clinic's list may go on to ask."""
        allowed = {
            "Access-Control-Allow-Methods": "POST",
            "Access-Control-Allow-Headers": "authorization, content-type",
            "Access-Control-Max-Age": "600",
        }
        return Response(status=204, headers=allowed)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        final = super().finalize_response(request, response, *args, **kwargs)
        origin = origin_of(request.headers.get("Origin", ""))
        patch_vary_headers(final, ["Origin"])
        final["Cache-Control"] = "no-store"
        if origin and ClinicOrigin.objects.filter(origin=origin).exists():
            final["Access-Control-Allow-Origin"] = origin
        return final

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, ApiError):
            return Response(exc.body, status=exc.status_code)
        if isinstance(exc, APIException):
            error = ApiError(exc.status_code, "invalid_request", _("The request could not be read"))
            return Response(error.body, status=exc.status_code)
        return super().handle_exception(exc)


def _read(request: Request) -> dict[str, Any]:
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
        raise ApiError(413, "too_large", _("The request is too large"))
    try:
        form = KeyAsked(data=request.data)
    except (ParseError, UnicodeDecodeError, RecursionError):
        raise ApiError(400, "invalid_json", _("The request is not JSON")) from None
    if not form.is_valid():
        param = _first_wrong(cast(dict[str, Any], form.errors))
        raise ApiError(400, "invalid_value", _("A value is missing or wrong"), param=param)
    return cast(dict[str, Any], form.validated_data)


def _first_wrong(errors: dict[str, Any]) -> str | None:
    """Return the path of the first field that is wrong; None for the request as a whole."""
    path: list[str] = []
    inner: Any = errors
    while isinstance(inner, dict):
        name, inner = next(iter(inner.items()))
        path += [name] if name != api_settings.NON_FIELD_ERRORS_KEY else []
    return ".".join(path) or None


def _token(request: Request) -> ApiToken | None:
    """Return the clinic's token that the request carries. A wrong one is refused, whatever else it shows."""
    given = request.headers.get("Authorization", "")
    if not given.startswith("Bearer "):
        return None
    token = ApiToken.find(given.removeprefix("Bearer "))
    if token is None and not _debug_loopback(request):
        raise ApiError(401, "invalid_api_key", _("This API token is not valid"))
    return token


def _welcome(request: Request, agent: Agent | None, origin: str) -> bool:
    """Whether a caller without a token may ask. For an unknown agent, whoever could ask for some agent may hear 404."""
    if origin:
        own = settings.DEBUG and origin == normal_origin(f"{request.scheme}://{request.get_host()}")
        listed = ClinicOrigin.objects.filter(origin=origin)
        return own or (listed.exists() if agent is None else listed.filter(clinic=agent.clinic).exists())
    return _debug_loopback(request)


def _debug_loopback(request: Request) -> bool:
    return bool(settings.DEBUG) and not request.headers.get("Origin") and is_loopback(_address(request))


def _address(request: Request) -> str:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return client_address(headers, request.META.get("REMOTE_ADDR", ""))


def _check_room(request: Request, agent: Agent, *, by_token: bool) -> None:
    clinic: Clinic = agent.clinic
    version = live_version(agent)
    if version is None:
        raise ApiError(503, "agent_paused", _("This receptionist takes no calls now"), kind="server_error")
    if KeyRefusal.objects.holds(clinic.pk, access_of(clinic).digest):
        raise ApiError(503, "key_rejected", _("This receptionist is not connected at present"), kind="server_error")
    # A program asks for keys that others use: what counts then is the address of the call.
    caller = AddressDigests() if by_token else AddressDigests.of(_address(request))
    if not Place.objects.any_free(agent, caller):
        raise ApiError(429, "busy", BUSY % {"phone": clinic.phone}, kind="rate_limit_error")
    if not has_room(clinic, version.content["model"]["name"]):
        raise ApiError(429, "budget", BUDGET_SPENT % {"phone": clinic.phone}, kind="rate_limit_error")
    if not count_start(clinic, _address(request)):
        raise ApiError(429, "rate_limited", _("Too many calls were begun from here"), kind="rate_limit_error")
