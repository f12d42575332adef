"""The read-only staff API: agents and calls, as JSON, for a signed-in member of staff or a clinic's API token.

Owns its shapes. What may be seen is the `Reader`'s to say; reading one call leaves a row.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError as InvalidPosition
from django.db.models import QuerySet
from django.urls import path
from django.utils.translation import gettext as _
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from drf_spectacular.views import SpectacularJSONAPIView
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ReadOnlyModelViewSet

from agents_app.models import Agent, AgentVersion, ApiToken
from sessions_app.models import CallSession, CallView, Item, Recording, ToolCall
from sessions_app.models.calls import CallSessionQuerySet
from sessions_app.review.filters import CallFilter, with_figures
from sessions_app.review.reader import Reader


class ApiTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer fd_...`. The token is no user: it sees its own clinic, and the record names the token."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiToken] | None:
        scheme, _space, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = ApiToken.find(value.strip())
        if token is None:
            raise AuthenticationFailed("The API token is unknown or has been revoked")
        return AnonymousUser(), token

    def authenticate_header(self, request: Request) -> str:
        """Without it, DRF answers 403 where 401 is meant."""
        return 'Bearer realm="staff"'


class ApiTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself by being
    target_class = ApiTokenAuthentication
    name = "apiToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A clinic's API token: fd_..."}


class IsReader(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, ApiToken) or bool(request.user and request.user.is_authenticated)


def reader_of(request: Request) -> Reader:
    if isinstance(request.auth, ApiToken):
        return Reader(token=request.auth)
    return Reader(user=request.user)


class BoundedPages(CursorPagination):
    page_size = 25
    page_size_query_param = "page_size"
    max_page_size = 100

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> Any:
        try:
            return super().paginate_queryset(queryset, request, view)
        except InvalidPosition:  # DRF takes a cursor's position to the database unread
            raise NotFound(self.invalid_cursor_message) from None

    def decode_cursor(self, request: Request) -> Any:
        cursor = super().decode_cursor(request)
        if cursor is not None and "\x00" in str(cursor.position):  # PostgreSQL refuses to look for it
            raise NotFound(self.invalid_cursor_message)
        return cursor


class AgentsByName(BoundedPages):
    ordering = ("name", "pk")


class CallsNewestFirst(BoundedPages):
    ordering = ("-started_at", "-id")


class StaffViewSet(ReadOnlyModelViewSet[Any]):
    authentication_classes = (ApiTokenAuthentication, SessionAuthentication)
    permission_classes = (IsReader,)

    @property
    def reader(self) -> Reader:
        return reader_of(self.request)


class VersionSerializer(serializers.ModelSerializer[AgentVersion]):
    published_by = serializers.CharField(source="published_by.username", allow_null=True, default=None)

    class Meta:
        model = AgentVersion
        fields = ("number", "content_hash", "published_at", "published_by")


class AgentSerializer(serializers.ModelSerializer[Agent]):
    clinic = serializers.CharField(source="clinic.name")
    live_version = VersionSerializer(allow_null=True)

    class Meta:
        model = Agent
        fields = ("id", "name", "public_name", "clinic", "paused", "live_version")


class ItemSerializer(serializers.ModelSerializer[Item]):
    heard_text = serializers.CharField(help_text="What the caller heard of it: all of `text`, unless it was cut off.")

    class Meta:
        model = Item
        fields = (
            "item_id",
            "position",
            "speaker",
            "source",
            "text",
            "heard_text",
            "transcript_state",
            "started_ms",
            "ended_ms",
            "audio_ms",
            "heard_ms",
            "interrupted",
            "first_audio_ms",
        )


@extend_schema_field(OpenApiTypes.ANY)
class AnyJson(serializers.JSONField):
    """Whatever a tool returned."""


class ToolCallSerializer(serializers.ModelSerializer[ToolCall]):
    arguments = serializers.CharField(help_text="As the model wrote them: perhaps not JSON.")
    output = AnyJson(allow_null=True)

    class Meta:
        model = ToolCall
        fields = (
            "call_id",
            "position",
            "name",
            "writes",
            "status",
            "error_code",
            "arguments",
            "output",
            "confirmed_by",
            "trace_id",
            "started_ms",
            "duration_ms",
        )


class CallSerializer(serializers.ModelSerializer[CallSession]):
    """A row of the list: nothing that was said."""

    clinic = serializers.CharField(source="clinic.name")
    timezone = serializers.CharField(source="clinic.timezone")
    agent = serializers.CharField(source="version.agent.public_name")
    version = serializers.IntegerField(source="version.number")
    tools_failed = serializers.IntegerField()
    worst_delay_ms = serializers.IntegerField(allow_null=True)
    reviewed_by = serializers.CharField(source="reviewed_by.username", allow_null=True, default=None)

    class Meta:
        model = CallSession
        fields: tuple[str, ...] = (
            "id",
            "reference",
            "clinic",
            "timezone",
            "agent",
            "version",
            "channel",
            "state",
            "started_at",
            "ended_at",
            "duration_ms",
            "outcome",
            "end_reason",
            "error_code",
            "tools_failed",
            "worst_delay_ms",
            "cost_microusd",
            "reviewed_at",
            "reviewed_by",
        )


class CallDetailSerializer(CallSerializer):
    usage = serializers.DictField(child=serializers.IntegerField(), help_text="Tokens by kind, over all responses.")
    patients = serializers.SerializerMethodField(help_text="References only.")
    recording = serializers.SerializerMethodField(help_text="none, waiting, ready or failed")
    items = ItemSerializer(many=True)
    tool_calls = ToolCallSerializer(many=True)

    class Meta(CallSerializer.Meta):
        fields = (*CallSerializer.Meta.fields, "notice_answer", "usage", "patients", "recording", "items", "tool_calls")

    def get_patients(self, call: CallSession) -> list[str]:
        return [patient.reference for patient in call.patients.all()]

    def get_recording(self, call: CallSession) -> str:
        recording: Recording | None = getattr(call, "recording", None)
        return "none" if recording is None else recording.status


class AgentViewSet(StaffViewSet):
    serializer_class = AgentSerializer
    pagination_class = AgentsByName
    queryset = Agent.objects.none()  # what the schema reads the type of `id` from

    def get_queryset(self) -> QuerySet[Agent]:
        agents = self.reader.agents().select_related("clinic", "live_version__published_by")
        return agents.defer("live_version__content")


_FILTERS = [
    OpenApiParameter("agent", int, description="The id of an agent."),
    OpenApiParameter("outcome", str, enum=CallSession.Outcome.values),
    OpenApiParameter("end_reason", str, enum=CallSession.EndReason.values),
    OpenApiParameter("since", OpenApiTypes.DATE, description="The first day, in each clinic's own zone."),
    OpenApiParameter("until", OpenApiTypes.DATE, description="The last day, in each clinic's own zone."),
    OpenApiParameter("tool_failed", bool, description="Only calls in which a tool failed."),
    OpenApiParameter("unreviewed", bool, description="Only calls that have ended and wait for a review."),
]
_FLAGS = [each.name for each in _FILTERS if each.type is bool]


class CallViewSet(StaffViewSet):
    pagination_class = CallsNewestFirst
    serializer_class = CallDetailSerializer
    queryset = CallSession.objects.none()

    def get_queryset(self) -> QuerySet[CallSession]:
        calls = with_figures(self.reader.calls())
        if self.action == "retrieve":
            return calls.select_related("recording").prefetch_related("items", "tool_calls", "patients")
        return self._filtered(calls)

    def _filtered(self, calls: CallSessionQuerySet) -> CallSessionQuerySet:
        """Refuse a filter that cannot be read: to leave it out would answer another question. No search of words."""
        asked = {name: value for name, value in self.request.query_params.items() if name != "words"}
        form = CallFilter(asked, reader=self.reader)
        errors = {name: [str(error) for error in each] for name, each in form.errors.items()}
        # A checkbox, which these are on the page, is on whatever its value.
        unread = [name for name in _FLAGS if str(asked.get(name, "false")).lower() not in ("true", "false")]
        errors |= {name: [_("Enter true or false.")] for name in unread}
        if errors:
            raise ValidationError(errors)
        return form.apply(calls)

    def get_serializer_class(self) -> type[CallSerializer]:
        return CallDetailSerializer if self.action == "retrieve" else CallSerializer

    @extend_schema(parameters=_FILTERS, responses=CallSerializer(many=True))
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        call = self.get_object()
        self.reader.note(call, CallView.Door.API)
        return Response(self.get_serializer(call).data)


class StaffSchemaView(SpectacularJSONAPIView):
    authentication_classes = StaffViewSet.authentication_classes
    permission_classes = StaffViewSet.permission_classes


router = SimpleRouter()
router.register("agents", AgentViewSet, basename="api-agents")
router.register("calls", CallViewSet, basename="api-calls")

urlpatterns = [path("schema/", StaffSchemaView.as_view(), name="api-schema"), *router.urls]
