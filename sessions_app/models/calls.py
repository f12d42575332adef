"""One call's row, and what belongs to it: its items, tool calls, events, patients and readers."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models import AgentVersion, ApiToken, Clinic
from agents_app.practice.models import Patient

# No vowels, so no words; no 0, 1, 5, so nothing that is misheard for a letter.
_REFERENCE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ2346789"
REFERENCE_LENGTH = 6  # 27^6: 387 million

OWNER_LOST = "owner_lost"  # the error code of a call that was ended since its process had died
LEASE_SECONDS = 30


def lease() -> models.Expression:
    """Return until when the process that carries a call has to say so again, by the database's clock."""
    return Now() + timedelta(seconds=LEASE_SECONDS)


def new_reference() -> str:
    """Return a short name of a call that can be read out on the phone."""
    return "".join(secrets.choice(_REFERENCE_ALPHABET) for _ in range(REFERENCE_LENGTH))


class CallSessionQuerySet(models.QuerySet["CallSession"]):
    def visible_to(self, user: AbstractBaseUser | AnonymousUser) -> Self:
        """Return the calls of the user's clinics: the only way in. Another clinic's call does not exist."""
        return self.filter(clinic__in=Clinic.objects.visible_to(user))

    def visible_to_token(self, token: ApiToken) -> Self:
        """Return the calls that a clinic's program may read: its own clinic's, and no other of the group."""
        return self.filter(clinic_id=token.clinic_id)

    def ask_to_stop(self) -> int:
        """Ask the processes that carry these calls to end them; return how many were asked."""
        live = self.exclude(state=CallSession.State.ENDED)
        return live.filter(stop_requested_at=None).update(stop_requested_at=Now())

    def asked_to_stop(self, call_ids: Iterable[uuid.UUID]) -> list[uuid.UUID]:
        """Return which of these calls staff has asked to stop."""
        return list(self.filter(pk__in=call_ids, stop_requested_at__isnull=False).values_list("pk", flat=True))

    def carried_elsewhere(self, call_ids: Iterable[UUID], *, owner: str) -> list[UUID]:
        """Return which of these calls a process other than `owner` has taken over."""
        return list(self.filter(pk__in=call_ids).exclude(owner=owner).values_list("pk", flat=True))

    def renew(self, call_ids: Collection[UUID], *, owner: str) -> int:
        """Say that `owner` still carries these calls; return of how many that was said.

        One that was taken for dead meanwhile is alive again.
        """
        mine = self.filter(pk__in=call_ids, owner=owner)
        renewed = mine.exclude(state=CallSession.State.ENDED).update(lease_until=lease())
        if renewed < len(call_ids):
            renewed += mine.filter(state=CallSession.State.ENDED, error_code=OWNER_LOST).update(
                state=CallSession.State.LIVE,
                ended_at=None,
                duration_ms=None,
                end_reason="",
                error_code="",
                outcome="",
                lease_until=lease(),
            )
        return renewed


class CallSession(models.Model):
    """One patient's call. Its id is the call's id everywhere; its reference is what people read to each other."""

    data_classes = {
        DataClass.PUBLIC: (
            "id reference clinic version state state_history started_at ended_at duration_ms end_reason error_code "
            "outcome channel recording_kept notice_sha256 notice_answer notice_at usage counters cost_microusd owner "
            "epoch lease_until resume_until stop_requested_at reviewed_at reviewed_by"
        ),
        DataClass.PERSONAL: "origin",
        DataClass.SECRET: "resume_digest resume_spent",
    }

    class State(models.TextChoices):
        CONNECTING = "connecting", _("connecting")
        LIVE = "live", _("in progress")
        ENDING = "ending", _("ending")
        ENDED = "ended", _("ended")

    class EndReason(models.TextChoices):
        CALLER = "caller", _("the caller ended it")
        ABANDONED = "abandoned", _("the caller's page went away")
        GOODBYE = "goodbye", _("the receptionist said goodbye")
        TIME_LIMIT = "time_limit", _("longest call reached")
        IDLE = "idle", _("nobody spoke")
        EMERGENCY = "emergency", _("emergency line was given")
        BUDGET = "budget", _("what calls may cost was used up")
        UPSTREAM = "upstream", _("the voice service failed")
        REFUSED = "refused", _("the voice service refused the call")
        BAD_MESSAGE = "bad_message", _("the caller's program broke the protocol")
        INTERNAL = "internal", _("a fault of ours")
        INTERRUPTED = "interrupted", _("the server was stopped")
        STOPPED = "stopped", _("staff stopped it")

    class Outcome(models.TextChoices):
        """What the call came to, by rule from what the tools did."""

        BOOKED = "booked", _("booked")
        RESCHEDULED = "rescheduled", _("rescheduled")
        CANCELLED = "cancelled", _("cancelled")
        MESSAGE = "message", _("message left")
        EMERGENCY = "emergency", _("emergency")
        ANSWERED = "answered", _("answered")
        ABANDONED = "abandoned", _("abandoned")
        FAILED = "failed", _("failed")

    class Channel(models.TextChoices):
        WEB = "web", _("web page")
        API = "api", _("program")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reference = models.CharField(_("reference"), max_length=10, unique=True, default=new_reference)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="calls")
    version = models.ForeignKey(AgentVersion, on_delete=models.PROTECT, related_name="calls")
    state = models.CharField(max_length=10, choices=State.choices, default=State.CONNECTING)
    state_history = models.JSONField(default=list)  # [[at_ms, state], ...]
    started_at = models.DateTimeField(_("started"))
    ended_at = models.DateTimeField(_("ended"), null=True)
    duration_ms = models.PositiveBigIntegerField(null=True)  # by the monotonic clock
    end_reason = models.CharField(_("end"), max_length=12, choices=EndReason.choices, blank=True)
    error_code = models.CharField(_("error"), max_length=64, blank=True)  # the provider's or our own code, never a text
    outcome = models.CharField(_("outcome"), max_length=12, choices=Outcome.choices, blank=True)
    channel = models.CharField(_("channel"), max_length=4, choices=Channel.choices)
    origin = models.CharField(max_length=200, blank=True)
    recording_kept = models.BooleanField(_("sound kept"), default=False)
    notice_sha256 = models.CharField(max_length=64, blank=True)
    notice_answer = models.CharField(max_length=10, blank=True)  # accepted, declined, or "" when none was shown
    notice_at = models.DateTimeField(null=True)
    usage = models.JSONField(default=dict)  # summed over the call's responses, by kind of token
    counters = models.JSONField(default=dict)  # events that are counted, not stored: audio, deltas
    cost_microusd = models.PositiveBigIntegerField(_("cost"), null=True)
    owner = models.CharField(max_length=64, blank=True)  # the process that carries the call
    epoch = models.PositiveIntegerField(default=1)  # how often its caller has come: the last one that comes has it
    lease_until = models.DateTimeField(null=True)
    # Tokens of the caller's way back: the one it has been told, and the one before until it says that it got this one.
    resume_digest = models.CharField(max_length=64, blank=True)
    resume_spent = models.CharField(max_length=64, blank=True)
    resume_until = models.DateTimeField(null=True)  # None while the caller is there
    stop_requested_at = models.DateTimeField(null=True)  # by staff: the process that carries the call sees it in 2 s
    reviewed_at = models.DateTimeField(_("reviewed"), null=True)
    reviewed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    patients: models.ManyToManyField[Patient, CallPatient] = models.ManyToManyField(
        Patient, through="CallPatient", related_name="calls"
    )

    objects = CallSessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("call")
        ordering = ("-started_at", "-id")
        indexes = (
            models.Index(fields=("clinic", "-started_at")),
            # The list of calls: newest first over all the clinics of a group, a page at a time.
            models.Index(fields=("-started_at", "-id"), name="call_newest_first"),
            # Asked every few seconds by each process: the calls in progress, few among all.
            models.Index(fields=("lease_until",), condition=~Q(state="ended"), name="call_in_progress"),
        )

    def __str__(self) -> str:
        return self.reference


class CallPatient(models.Model):
    """A patient whom a call identified, registered or changed."""

    data_classes = {DataClass.PUBLIC: "id session", DataClass.HEALTH: "patient"}

    session = models.ForeignKey(CallSession, on_delete=models.CASCADE)
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("session", "patient"), name="patient_once_a_call"),)

    def __str__(self) -> str:
        return f"{self.session_id}"


class Item(models.Model):
    """One stretch of speech or one typed message, in the order in which the conversation took it up."""

    data_classes = {
        DataClass.PUBLIC: (
            "id session item_id position speaker source transcript_state started_ms ended_ms audio_ms heard_ms "
            "heard_chars interrupted response_id first_audio_ms revision"
        ),
        DataClass.HEALTH: "text",
    }

    class Speaker(models.TextChoices):
        CALLER = "caller", _("Caller")
        AGENT = "agent", _("Receptionist")

    class Source(models.TextChoices):
        SPEECH = "speech", _("spoken")
        TEXT = "text", _("typed")
        FIXED = "fixed", _("fixed line")
        BUTTON = "button", _("button")

    class TranscriptState(models.TextChoices):
        PENDING = "pending", _("being transcribed")
        DONE = "done", _("complete")
        FAILED = "failed", _("inaudible")

    session = models.ForeignKey(CallSession, on_delete=models.CASCADE, related_name="items")
    item_id = models.CharField(max_length=64)
    position = models.PositiveIntegerField()  # order of conversation.item.added
    speaker = models.CharField(max_length=6, choices=Speaker.choices)
    source = models.CharField(max_length=6, choices=Source.choices)
    text = models.TextField(blank=True)
    transcript_state = models.CharField(max_length=7, choices=TranscriptState.choices, default=TranscriptState.DONE)
    started_ms = models.PositiveBigIntegerField()  # since the call began: where its sound begins in the recording
    ended_ms = models.PositiveBigIntegerField(null=True)
    audio_ms = models.PositiveIntegerField(default=0)  # generated
    heard_ms = models.PositiveIntegerField(null=True)  # heard, when the reply was cut; None: all of it
    heard_chars = models.PositiveIntegerField(null=True)  # where in `text` the heard part ends, estimated from heard_ms
    interrupted = models.BooleanField(default=False)
    response_id = models.CharField(max_length=64, blank=True)
    first_audio_ms = models.PositiveIntegerField(null=True)  # from the end of the caller's turn to the first sound
    revision = models.PositiveBigIntegerField(default=0, db_default=0)  # of the fact told: an older one changes nothing

    class Meta:
        ordering = ("position",)
        constraints = (models.UniqueConstraint(fields=("session", "item_id"), name="item_once_a_call"),)

    def __str__(self) -> str:
        return self.item_id

    @property
    def heard_text(self) -> str:
        return self.text if self.heard_chars is None else self.text[: self.heard_chars]

    @property
    def unheard_text(self) -> str:
        return "" if self.heard_chars is None else self.text[self.heard_chars :]


class ToolCall(models.Model):
    """One function call of the model. The row is committed before the tool runs."""

    data_classes = {
        DataClass.PUBLIC: (
            "id session call_id position name status error_code trace_id started_ms duration_ms confirmed_by "
            "confidence writes"
        ),
        DataClass.HEALTH: "arguments output filled",
    }

    class Status(models.TextChoices):
        RUNNING = "running", _("running")
        OK = "ok", _("done")
        ASKED = "asked", _("asked the caller first")
        ERROR = "error", _("failed")
        UNKNOWN = "unknown", _("unknown: the server stopped while it ran")

    session = models.ForeignKey(CallSession, on_delete=models.CASCADE, related_name="tool_calls")
    call_id = models.CharField(max_length=64)
    position = models.PositiveIntegerField()  # of the item that it follows
    name = models.CharField(_("tool"), max_length=64)
    writes = models.BooleanField(default=False)
    arguments = models.TextField(blank=True)  # as the model wrote them: perhaps not JSON
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.RUNNING)
    error_code = models.CharField(max_length=64, blank=True)
    output = models.JSONField(null=True)
    filled = models.JSONField(default=dict)  # values that the tool supplied itself, and where they came from
    confidence = models.FloatField(null=True)
    confirmed_by = models.CharField(max_length=64, blank=True)  # "button", or the item in which the caller said yes
    trace_id = models.UUIDField(default=uuid.uuid4)
    started_ms = models.PositiveBigIntegerField()
    duration_ms = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ("started_ms", "pk")
        constraints = (models.UniqueConstraint(fields=("session", "call_id"), name="function_call_once_a_call"),)

    def __str__(self) -> str:
        return f"{self.name} {self.call_id}"


class Event(models.Model):
    """One event of a call's legs, its allow-listed fields alone: no speech, no arguments, no frame."""

    data_classes = {DataClass.PUBLIC: "id session seq direction type at_ms fields"}

    class Direction(models.TextChoices):
        FROM_CALLER = "from_caller", _("from the caller")
        TO_CALLER = "to_caller", _("to the caller")
        FROM_MODEL = "from_model", _("from the model")
        TO_MODEL = "to_model", _("to the model")
        OWN = "own", _("our own")

    session = models.ForeignKey(CallSession, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    direction = models.CharField(max_length=11, choices=Direction.choices)
    type = models.CharField(max_length=80)
    at_ms = models.PositiveBigIntegerField()
    fields = models.JSONField(default=dict)

    class Meta:
        ordering = ("seq",)
        constraints = (models.UniqueConstraint(fields=("session", "seq"), name="event_once_a_call"),)

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"


class CallView(models.Model):
    """Who opened, played or read a call, through which door: a member of staff or a program. Rows are only added."""

    data_classes = {DataClass.PUBLIC: "id session user api_token at door"}

    class Door(models.TextChoices):
        PAGE = "page", _("opened the page")
        AUDIO = "audio", _("played the sound")
        API = "api", _("read it through the API")
        ADMIN = "admin", _("opened it in the admin")

    session = models.ForeignKey(CallSession, on_delete=models.CASCADE, related_name="views")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    api_token = models.ForeignKey(ApiToken, on_delete=models.PROTECT, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    door = models.CharField(max_length=5, choices=Door.choices)

    class Meta:
        ordering = ("-at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(user__isnull=True) ^ Q(api_token__isnull=True), name="view_by_user_or_token"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id or self.api_token_id} {self.door}"
