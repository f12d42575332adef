"""What the demo consists of, as data: clinics, people, rooms, kinds of visit. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from agents_app.demo.receptionists import LEXI, MAX, Block

SOUND_NOTICE = (
    "You will talk with an automated assistant, not with a person. The sound and the words of this call are kept, "
    "and our staff can listen to them. If you do not agree, please call us by phone."
)
WORDS_NOTICE = (
    "You will talk with an automated assistant, not with a person. The words of this call are kept for our staff; "
    "its sound is not."
)
CALLS_AT_ONCE = 50
STARTS_PER_HOUR = 10_000


@dataclass(frozen=True)
class DemoProvider:
    """Somebody who treats. `shifts`: weekdays, from, to."""

    name: str
    spoken_as: str
    shifts: tuple[tuple[tuple[int, ...], str, str], ...]


@dataclass(frozen=True)
class DemoVisit:
    """A kind of visit, and who does it where, by name."""

    name: str
    spoken_as: str
    keywords: str
    minutes: int
    buffer_minutes: int
    providers: tuple[str, ...]
    rooms: tuple[str, ...]


@dataclass(frozen=True)
class DemoAgent:
    name: str
    public_name: str
    voice: str
    greeting: str
    goodbye: str
    instructions: tuple[Block, ...]


@dataclass(frozen=True)
class DemoClinic:
    """A whole clinic. `closures`: days from the first seeding, from, to, reason."""

    name: str
    address: str
    phone: str
    timezone: str
    policies: str
    arrival_note: str
    recording_enabled: bool
    notice: str
    hours: tuple[tuple[int, str, str], ...]
    agent: DemoAgent
    rooms: tuple[str, ...]
    providers: tuple[DemoProvider, ...]
    visits: tuple[DemoVisit, ...]
    closures: tuple[tuple[int, str, str, str], ...]
    patients: tuple[tuple[str, str, date, str], ...]
    visits_a_day: int


MONDAY_TO_THURSDAY, FRIDAY, WEEKDAYS = (0, 1, 2, 3), (4,), (0, 1, 2, 3, 4)
DENTISTS = ("Dr. Amelia Adams", "Dr. Ravi Patel")
HYGIENISTS = ("Nora Lindqvist", "Tom Okafor")
SURGERIES, HYGIENE_ROOMS = ("Surgery 1", "Surgery 2"), ("Hygiene 1", "Hygiene 2")

BARTON = DemoClinic(
    name="Barton Dental",
    address="12 Barton Street, Springfield",
    phone="+1 206 555 0100",
    timezone="America/New_York",
    policies="""\
We accept most dental insurance plans; please bring your insurance card.
We take cash, cards and health savings accounts. A payment plan is possible.
Please cancel at least 24 hours ahead; a later cancellation may cost 50 dollars.
Free parking is behind the building, and the entrance is step-free.
Children are welcome from their first tooth on.""",
    arrival_note="Please come 15 minutes early, and bring a photo ID and your insurance card.",
    recording_enabled=True,
    notice=SOUND_NOTICE,
    hours=(
        *((day, "08:00", "12:00") for day in MONDAY_TO_THURSDAY),
        *((day, "13:00", "17:00") for day in MONDAY_TO_THURSDAY),
        (4, "08:00", "14:00"),
    ),
    agent=DemoAgent(
        name="Lexi",
        public_name="lexi",
        voice="marin",
        greeting="Thank you for calling Barton Dental, this is Lexi.",
        goodbye="Thank you for calling Barton Dental. Goodbye!",
        instructions=LEXI,
    ),
    rooms=(*SURGERIES, *HYGIENE_ROOMS),
    providers=(
        DemoProvider(
            "Dr. Amelia Adams", "Dr. Adams", ((MONDAY_TO_THURSDAY, "08:00", "17:00"), (FRIDAY, "08:00", "14:00"))
        ),
        DemoProvider("Dr. Ravi Patel", "Dr. Patel", (((0, 1, 3), "09:00", "17:00"), (FRIDAY, "08:00", "14:00"))),
        DemoProvider("Nora Lindqvist", "Nora, our hygienist", ((MONDAY_TO_THURSDAY, "08:00", "16:00"),)),
        DemoProvider("Tom Okafor", "Tom, our hygienist", (((1, 2, 3), "09:00", "17:00"), (FRIDAY, "08:00", "14:00"))),
    ),
    visits=(
        DemoVisit(
            "Cleaning",
            "a cleaning",
            "scale and polish, hygiene visit, teeth cleaning",
            45,
            10,
            HYGIENISTS,
            HYGIENE_ROOMS,
        ),
        DemoVisit("Check-up", "a check-up", "exam, examination, checkup, routine visit", 30, 5, DENTISTS, SURGERIES),
        DemoVisit("Filling", "a filling", "cavity, broken filling, lost filling", 60, 10, DENTISTS, SURGERIES),
        DemoVisit(
            "Emergency visit",
            "an emergency visit",
            "toothache, tooth pain, broken tooth, swelling",
            30,
            10,
            DENTISTS,
            SURGERIES,
        ),
        DemoVisit(
            "Consultation",
            "a consultation",
            "implant, whitening, braces, second opinion",
            30,
            0,
            ("Dr. Amelia Adams",),
            ("Surgery 1",),
        ),
        DemoVisit("Crown", "a crown", "cap, bridge", 90, 10, ("Dr. Ravi Patel",), ("Surgery 2",)),
    ),
    closures=((9, "00:00", "23:55", "staff training day"),),
    patients=(
        ("Maria", "Lopez", date(1985, 3, 14), "+1 206 555 0111"),
        ("James", "Carter", date(1962, 7, 2), "+1 206 555 0112"),
        ("Aisha", "Khan", date(1994, 11, 23), "+1 206 555 0113"),
        ("Peter", "Novak", date(1978, 1, 30), "+1 206 555 0114"),
        ("Grace", "Chen", date(2001, 5, 9), "+1 206 555 0115"),
        ("Oliver", "Chen", date(2014, 8, 17), "+1 206 555 0115"),
        ("Samuel", "O'Brien", date(1950, 12, 5), "+1 206 555 0117"),
        ("Ingrid", "Svensson", date(1989, 4, 21), "+1 206 555 0118"),
        ("Daniel", "Costa", date(1972, 9, 12), "+1 206 555 0119"),
        ("Fatima", "Haddad", date(1999, 2, 28), "+1 206 555 0120"),
        ("Robert", "Ellis", date(1967, 6, 6), "+1 206 555 0121"),
        ("Robert", "Ellis", date(1992, 10, 19), "+1 206 555 0122"),
    ),
    visits_a_day=7,
)

SEAVIEW = DemoClinic(
    name="Seaview Family Clinic",
    address="3 Harbor Road, Port Ellis",
    phone="+1 415 555 0150",
    timezone="America/Los_Angeles",
    policies="""\
We are an in-network practice for most family plans.
Please cancel a day ahead.
Street parking only.""",
    arrival_note="Please come 10 minutes early with your insurance card.",
    recording_enabled=False,
    notice=WORDS_NOTICE,
    hours=tuple((day, "09:00", "18:00") for day in WEEKDAYS),
    agent=DemoAgent(
        name="Max",
        public_name="max",
        voice="cedar",
        greeting="Seaview Family Clinic, this is Max.",
        goodbye="Take care. Goodbye!",
        instructions=MAX,
    ),
    rooms=("Room A",),
    providers=(DemoProvider("Dr. June Sato", "Dr. Sato", ((WEEKDAYS, "09:00", "18:00"),)),),
    visits=(
        DemoVisit("Office visit", "an office visit", "appointment, sick visit", 20, 5, ("Dr. June Sato",), ("Room A",)),
        DemoVisit("Physical", "a physical", "annual exam, check-up", 40, 5, ("Dr. June Sato",), ("Room A",)),
    ),
    closures=(),
    patients=(
        ("Helen", "Marsh", date(1980, 10, 3), "+1 415 555 0161"),
        ("Luis", "Ortega", date(1971, 2, 11), "+1 415 555 0162"),
        ("Maria", "Lopez", date(1990, 3, 14), "+1 415 555 0163"),
    ),
    visits_a_day=3,
)

CLINICS = (BARTON, SEAVIEW)
