"""A receptionist as its manager edits it: the draft, and the models and voices that it may choose from."""

from __future__ import annotations

import re

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from agents_app.data_classes import DataClass
from agents_app.models.clinics import Clinic


class RealtimeModel(models.Model):
    """A model of the Realtime API, as data: names come and go faster than releases of this program."""

    data_classes = {DataClass.PUBLIC: "id name label reasoning parallel_tools shutdown_on"}

    name = models.CharField(_("name"), max_length=100, unique=True, help_text=_("As the Realtime API spells it."))
    label = models.CharField(_("label"), max_length=100)
    reasoning = models.BooleanField(_("takes a reasoning effort"), default=False)
    parallel_tools = models.BooleanField(_("may call several tools at once"), default=False)
    shutdown_on = models.DateField(_("ends on"), null=True, blank=True)

    class Meta:
        verbose_name = _("model")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.label


class Voice(models.Model):
    data_classes = {DataClass.PUBLIC: "id name label recommended shutdown_on"}

    name = models.CharField(_("name"), max_length=50, unique=True, help_text=_("As the Realtime API spells it."))
    label = models.CharField(_("label"), max_length=100)
    recommended = models.BooleanField(_("recommended"), default=False)
    shutdown_on = models.DateField(_("ends on"), null=True, blank=True)

    class Meta:
        verbose_name = _("voice")
        ordering = ("-recommended", "name")

    def __str__(self) -> str:
        return self.label


class AgentQuerySet(models.QuerySet["Agent"]):
    def published(self, public_name: str) -> Agent | None:
        """Return the agent that answers to `public_name`, with its clinic and live version; paused ones too."""
        return (
            self.filter(public_name=public_name, live_version__isnull=False)
            .select_related("clinic__voice_service", "live_version")
            .first()
        )


# The lines that no model makes up: what a call begins with, and those that are kept as sound.
OPENING_LINES = ("greeting", "disclosure")
FIXED_LINES = ("goodbye", "apology", "one_moment", "say_again", "are_you_there", "last_minute")


class Agent(models.Model):
    """A receptionist as its manager edits it. Callers never meet this draft, only its live version."""

    data_classes = {
        DataClass.PUBLIC: (
            "id clinic name public_name paused max_concurrent_calls model voice speed reasoning_effort language "
            "turn_taking threshold prefix_padding_ms silence_duration_ms eagerness idle_seconds echo_guard keywords "
            "greeting disclosure goodbye apology "
            "one_moment say_again are_you_there last_minute live_version"
        )
    }

    class TurnTaking(models.TextChoices):
        QUIET = "quiet", _("Quiet room: answers soon after the caller stops")
        NOISY = "noisy", _("Noisy waiting room: ignores voices in the background")
        SLOW = "slow", _("Slow speaker: waits through long pauses")
        SEMANTIC = "semantic", _("By meaning: waits until a sentence sounds finished")
        BUTTON = "button", _("By button: hears the caller only while a button is held")

    class EchoGuard(models.TextChoices):
        GUARDED = "guarded", _("The caller may interrupt; what is only an echo of the receptionist is left out")
        HALF_DUPLEX = "half_duplex", _("The microphone waits until the receptionist has finished, as for loud speakers")

    class Eagerness(models.TextChoices):
        LOW = "low", _("low: waits up to eight seconds")
        MEDIUM = "medium", _("medium: up to four seconds")
        HIGH = "high", _("high: up to two seconds")

    class Effort(models.TextChoices):
        MINIMAL = "minimal", _("minimal")
        LOW = "low", _("low")
        MEDIUM = "medium", _("medium")
        HIGH = "high", _("high")

    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="agents")
    name = models.CharField(_("name"), max_length=50, help_text=_("What the receptionist calls itself: Lexi."))
    public_name = models.CharField(
        _("public name"),
        max_length=50,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$", _("Small letters, digits and hyphens."))],
        help_text=_("In the address of the talk page. Fixed once published, and never used again."),
    )
    paused = models.BooleanField(
        _("paused"), default=False, help_text=_("Takes no calls; its page shows the phone and the hours.")
    )
    max_concurrent_calls = models.PositiveSmallIntegerField(
        _("calls at once"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(500)],
        help_text=_("Empty: as many as the clinic has lines."),
    )
    model = models.ForeignKey(RealtimeModel, on_delete=models.PROTECT, verbose_name=_("model"))
    voice = models.ForeignKey(Voice, on_delete=models.PROTECT, verbose_name=_("voice"))
    speed = models.DecimalField(
        _("speed"),
        max_digits=3,
        decimal_places=2,
        default=1,
        validators=[MinValueValidator(0.25), MaxValueValidator(1.5)],
        help_text=_("1 is usual; from 0.25 to 1.5."),
    )
    reasoning_effort = models.CharField(
        _("reasoning effort"),
        max_length=10,
        choices=Effort.choices,
        default=Effort.LOW,
        help_text=_("More effort answers later. Only for models that take it."),
    )
    language = models.CharField(
        _("language"),
        max_length=5,
        default="en",
        # The service refuses a whole session for anything else.
        validators=[RegexValidator(r"^[a-z]{2}$", _("Two small letters, such as en."))],
        help_text=_("Two letters, such as en."),
    )
    turn_taking = models.CharField(
        _("turn taking"), max_length=10, choices=TurnTaking.choices, default=TurnTaking.QUIET
    )
    # Each of these is the Realtime API's own field; empty: as the choice of turn taking has it.
    threshold = models.FloatField(
        _("threshold"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text=_("How loud a voice must be, from 0 to 1. More keeps other voices out, and soft ones too."),
    )
    prefix_padding_ms = models.PositiveSmallIntegerField(
        _("sound before the voice, in ms"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(2_000)],
        help_text=_("How much of it counts as speech, so that no first syllable is lost."),
    )
    silence_duration_ms = models.PositiveSmallIntegerField(
        _("silence that ends a turn, in ms"),
        null=True,
        blank=True,
        validators=[MinValueValidator(100), MaxValueValidator(6_000)],
    )
    eagerness = models.CharField(_("eagerness, by meaning"), max_length=6, choices=Eagerness.choices, blank=True)
    idle_seconds = models.PositiveSmallIntegerField(
        _("silence before it asks, in seconds"),
        default=20,
        validators=[MinValueValidator(5), MaxValueValidator(300)],
        help_text=_("Whether the caller is still there: twice, then it says goodbye. Who types has at least a minute."),
    )
    echo_guard = models.CharField(
        _("while it speaks"),
        max_length=12,
        choices=EchoGuard.choices,
        default=EchoGuard.GUARDED,
        help_text=_("What the talk page begins with; callers may change it there."),
    )
    keywords = models.TextField(
        _("words that callers use"),
        max_length=4000,
        blank=True,
        help_text=_(
            "One a line: names and terms that are easily misheard. Providers and visit types are added by themselves; "
            "publish again after they have changed."
        ),
    )
    greeting = models.CharField(_("greeting"), max_length=300, help_text=_("The first words of each call, said once."))
    disclosure = models.CharField(
        _("disclosure"),
        max_length=300,
        default=_("I am an automated assistant."),
        help_text=_("Said right after the greeting, so that nobody takes it for a person."),
    )
    goodbye = models.CharField(_("goodbye"), max_length=300, default=_("Thank you for calling. Goodbye."))
    apology = models.CharField(
        _("apology"),
        max_length=300,
        default=_("I am sorry, something went wrong on our side. Please call us by phone."),
        help_text=_("Said when a call cannot go on."),
    )
    one_moment = models.CharField(
        _("one moment"),
        max_length=300,
        default=_("One moment, please."),
        help_text=_("Said while something is looked up that takes longer, or a lost connection is renewed."),
    )
    say_again = models.CharField(
        _("say it again"),
        max_length=300,
        default=_("Sorry, I lost you for a moment. Could you say that again?"),
        help_text=_("Said when a lost connection took the caller's words with it."),
    )
    are_you_there = models.CharField(
        _("are you there"),
        max_length=300,
        default=_("Are you still there?"),
        help_text=_("Said to a caller who says nothing: twice, then goodbye."),
    )
    last_minute = models.CharField(
        _("last minute"),
        max_length=300,
        default=_("We have about one minute left."),
        help_text=_("Said a minute before the longest call ends."),
    )
    live_version = models.ForeignKey(
        "agents_app.AgentVersion",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="live_for",
        verbose_name=_("live version"),
    )

    objects = AgentQuerySet.as_manager()

    class Meta:
        verbose_name = _("receptionist")
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("clinic", "name"), name="agent_name_once_a_clinic"),)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.pk and self.versions.exists():
            fixed = Agent.objects.only("public_name", "clinic_id").get(pk=self.pk)
            if fixed.public_name != self.public_name:
                raise ValidationError({"public_name": _("It is fixed, since this receptionist has been published.")})
            if fixed.clinic_id != self.clinic_id:
                raise ValidationError({"clinic": _("It is fixed, since this receptionist has been published.")})


class Instruction(models.Model):
    """One block of what the receptionist is told. Blocks are joined in order."""

    data_classes = {DataClass.PUBLIC: "id agent position kind title text"}

    class Kind(models.TextChoices):
        PERSONA = "persona", _("Persona: who it is and how it speaks")
        BUSINESS = "business", _("Business: what it knows and how it works")
        FALLBACK = "fallback", _("Fallback: what it does when stuck")
        SAFETY = "safety", _("Safety: what it must never do")

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="instructions")
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.BUSINESS)
    title = models.CharField(_("title"), max_length=100)
    text = models.TextField(_("text"), max_length=8000)

    class Meta:
        verbose_name = _("instruction")
        ordering = ("position", "pk")

    def __str__(self) -> str:
        return self.title


class Tool(models.Model):
    """A tool of the registry that this receptionist may use."""

    data_classes = {DataClass.PUBLIC: "id agent name enabled"}

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="tools")
    name = models.CharField(_("tool"), max_length=64)
    enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("tool")
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("agent", "name"), name="tool_once_an_agent"),)

    def __str__(self) -> str:
        return self.name


class Guardrail(models.Model):
    """A rule on the caller's words, matched by plain code, never by the model."""

    data_classes = {DataClass.PUBLIC: "id agent position name phrases line shows_emergency_number enabled"}

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="guardrails")
    position = models.PositiveSmallIntegerField(_("position"), default=0)
    name = models.CharField(_("name"), max_length=100)
    phrases = models.TextField(
        _("phrases"),
        max_length=8000,
        help_text=_("One a line. Each is looked for as whole words in what the caller says or types."),
    )
    line = models.CharField(
        _("fixed line"), max_length=300, help_text=_("Said word for word when the rule trips; no model speaks it.")
    )
    shows_emergency_number = models.BooleanField(_("shows the emergency number"), default=True)
    enabled = models.BooleanField(_("enabled"), default=True)

    class Meta:
        verbose_name = _("guardrail")
        ordering = ("position", "pk")

    def __str__(self) -> str:
        return self.name

    @property
    def phrase_list(self) -> list[str]:
        return [line.strip() for line in self.phrases.splitlines() if re.search(r"\w", line)]
