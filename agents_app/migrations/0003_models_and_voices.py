"""The models and voices of the Realtime API as of November 2026. Rows, so that a manager's list can follow the service."""

import datetime

from django.db import migrations

ENDS_2027_01_20 = datetime.date(2027, 1, 20)

# name, label, takes a reasoning effort, may call tools in parallel, ends on
MODELS = (
    ("gpt-realtime-2.1", "GPT Realtime 2.1", True, True, None),
    ("gpt-realtime-2.1-mini", "GPT Realtime 2.1 mini (a third of the price)", True, True, None),
    ("gpt-realtime-2", "GPT Realtime 2", True, True, None),
    ("gpt-realtime-1.5", "GPT Realtime 1.5", False, False, None),
    ("gpt-realtime", "GPT Realtime (ends 20 January 2027)", False, False, ENDS_2027_01_20),
    ("gpt-realtime-mini", "GPT Realtime mini (ends 20 January 2027)", False, False, ENDS_2027_01_20),
)
RECOMMENDED_VOICES = ("marin", "cedar")
OTHER_VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse")


def add_rows(apps, schema_editor):
    realtime_model = apps.get_model("agents_app", "RealtimeModel")
    voice = apps.get_model("agents_app", "Voice")
    for name, label, reasoning, parallel_tools, shutdown_on in MODELS:
        realtime_model.objects.get_or_create(
            name=name,
            defaults={
                "label": label,
                "reasoning": reasoning,
                "parallel_tools": parallel_tools,
                "shutdown_on": shutdown_on,
            },
        )
    for name in RECOMMENDED_VOICES + OTHER_VOICES:
        voice.objects.get_or_create(
            name=name, defaults={"label": name.capitalize(), "recommended": name in RECOMMENDED_VOICES}
        )


class Migration(migrations.Migration):
    dependencies = [("agents_app", "0002_voice_shutdown_on")]

    # Backwards keeps the rows: receptionists point at them.
    operations = [migrations.RunPython(add_rows, migrations.RunPython.noop)]
