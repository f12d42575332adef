"""Which calls: one form, for the address bar of the list and for the staff API alike.

What is searched for in transcripts may name a patient, so it stands in an address only sealed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self
from zoneinfo import ZoneInfo

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Count, Exists, IntegerField, Max, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from agents_app.models import Agent
from agents_app.sealing import SealBroken, seal, unseal
from sessions_app.models import CallSession, Item, ToolCall
from sessions_app.models.calls import CallSessionQuerySet
from sessions_app.review.reader import Reader

SEARCHED_CALLS = 2_000  # a search reads the transcripts of so many calls, the newest that the other filters leave
FAILED = (ToolCall.Status.ERROR, ToolCall.Status.UNKNOWN)
SEALED = "search"  # the name under which the searched words stand in an address, sealed

_DAYS = (MinValueValidator(dt.date(2000, 1, 1)), MaxValueValidator(dt.date(2999, 12, 31)))


class CallFilter(forms.Form):
    """A field that does not validate filters nothing; the form says so."""

    agent: forms.ModelChoiceField[Agent] = forms.ModelChoiceField(
        queryset=Agent.objects.none(), required=False, label=_("Receptionist"), empty_label=_("Any")
    )
    outcome = forms.ChoiceField(
        required=False, label=_("Outcome"), choices=[("", _("Any")), *CallSession.Outcome.choices]
    )
    end_reason = forms.ChoiceField(
        required=False, label=_("How it ended"), choices=[("", _("Any")), *CallSession.EndReason.choices]
    )
    since = forms.DateField(
        required=False, label=_("From"), validators=_DAYS, widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        required=False, label=_("To"), validators=_DAYS, widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    )
    tool_failed = forms.BooleanField(required=False, label=_("A tool failed"))
    unreviewed = forms.BooleanField(required=False, label=_("Not reviewed"))
    words = forms.CharField(
        required=False,
        min_length=2,
        max_length=100,
        label=_("Words or reference"),
        widget=forms.TextInput({"type": "search", "autocomplete": "off"}),
    )

    def __init__(self, data: Mapping[str, Any], *, reader: Reader) -> None:
        super().__init__(data, auto_id="filter-%s", label_suffix="", use_required_attribute=False)
        self.reader = reader
        agents = self.fields["agent"]
        assert isinstance(agents, forms.ModelChoiceField)
        agents.queryset = reader.agents()

    @classmethod
    def from_address(cls, query: QueryDict, *, reader: Reader) -> Self:
        """Read the filters of an address. Words that somebody else sealed are left out."""
        data = query.dict()
        data.pop("words", None)
        with suppress(SealBroken):
            data["words"] = unseal(str(data.pop(SEALED, "")), place=_place(reader))
        return cls(data, reader=reader)

    def address(self) -> str:
        """Return the query string that stands for these filters."""
        query = QueryDict(mutable=True)
        for name, value in self._chosen().items():
            query[name] = str(getattr(value, "pk", "on" if value is True else value))
        words = query.pop("words", [])
        if words:
            query[SEALED] = seal(str(words[0]), place=_place(self.reader))
        return query.urlencode()

    @property
    def active(self) -> bool:
        return bool(self._chosen())

    def apply(self, calls: CallSessionQuerySet) -> CallSessionQuerySet:
        chosen = self._chosen()
        same = {"agent": "version__agent", "outcome": "outcome", "end_reason": "end_reason"}
        calls = calls.filter(**{same[name]: value for name, value in chosen.items() if name in same})
        if "since" in chosen or "until" in chosen:
            calls = calls.filter(self._begun_between(chosen.get("since"), chosen.get("until")))
        if "tool_failed" in chosen:
            calls = calls.filter(Exists(ToolCall.objects.filter(session=OuterRef("pk"), status__in=FAILED)))
        if "unreviewed" in chosen:
            calls = calls.filter(reviewed_at=None, state=CallSession.State.ENDED)
        return _saying(calls, chosen["words"]) if "words" in chosen else calls

    def _chosen(self) -> dict[str, Any]:
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}

    def _begun_between(self, since: dt.date | None, until: dt.date | None) -> Q:
        """A day is the clinic's own: with clinics in several zones each has its own midnight."""
        within = Q(pk__in=[])
        for name in self.reader.clinics().order_by().values_list("timezone", flat=True).distinct():
            here = Q(clinic__timezone=name)
            if since:
                here &= Q(started_at__gte=_midnight(since, name))
            if until:
                here &= Q(started_at__lt=_midnight(until + dt.timedelta(days=1), name))
            within |= here
        return within


def with_figures(calls: CallSessionQuerySet) -> CallSessionQuerySet:
    """Add to each call, in the same query, what a row of the list shows: `tools_failed` and `worst_delay_ms`."""
    failed = ToolCall.objects.filter(session=OuterRef("pk"), status__in=FAILED).order_by().values("session")
    delays = Item.objects.filter(session=OuterRef("pk")).order_by().values("session")
    rows = calls.select_related("clinic", "version__agent", "reviewed_by").defer("version__content")
    return rows.annotate(
        tools_failed=Coalesce(
            Subquery(failed.annotate(n=Count("pk")).values("n"), output_field=IntegerField()),
            0,
        ),
        worst_delay_ms=Subquery(delays.annotate(worst=Max("first_audio_ms")).values("worst")),
    )


def _saying(calls: CallSessionQuerySet, words: str) -> CallSessionQuerySet:
    """Asked at once and by id: as one query, PostgreSQL read every transcript there is (2.4 s with 100,000 calls)."""
    newest = list(calls.order_by("-started_at", "-id").values_list("pk", flat=True)[:SEARCHED_CALLS])
    said = Item.objects.filter(session__in=newest, text__icontains=words).order_by().values_list("session", flat=True)
    return calls.filter(Q(reference=words.strip().upper()) | Q(pk__in=list(said.distinct())))


def _midnight(day: dt.date, zone: str) -> dt.datetime:
    return dt.datetime.combine(day, dt.time.min, tzinfo=ZoneInfo(zone))


def _place(reader: Reader) -> str:
    """Sealed words open for whoever sealed them alone."""
    return f"search:{'' if reader.user is None else reader.user.pk}"
