"""What the Realtime models cost as of November 2026. Rows, so that a manager may correct them and add to them.

Source: the provider's model pages.
"""

import datetime
from decimal import Decimal

from django.db import migrations

VALID_FROM = datetime.date(2026, 1, 1)

# US dollars for a million tokens.
TOKEN_KINDS = ("text_in", "text_cached", "text_out", "audio_in", "audio_cached", "audio_out")
BY_TOKENS = {
    "gpt-realtime-2.1": ("4.00", "0.40", "24.00", "32.00", "0.40", "64.00"),
    "gpt-realtime-2": ("4.00", "0.40", "24.00", "32.00", "0.40", "64.00"),
    "gpt-realtime-1.5": ("4.00", "0.40", "16.00", "32.00", "0.40", "64.00"),
    "gpt-realtime-2.1-mini": ("0.60", "0.06", "2.40", "10.00", "0.30", "20.00"),
}
# US dollars for a minute of sound.
BY_MINUTE = {"gpt-live-transcribe": "0.017", "gpt-realtime-whisper": "0.017"}


def add_prices(apps, schema_editor):
    price = apps.get_model("sessions_app", "Price")
    for model, dollars in BY_TOKENS.items():
        fields = dict(zip(TOKEN_KINDS, map(Decimal, dollars), strict=True))
        price.objects.get_or_create(model=model, valid_from=VALID_FROM, defaults=fields)
    for model, dollars in BY_MINUTE.items():
        fields = {**dict.fromkeys(TOKEN_KINDS, Decimal(0)), "audio_minute": Decimal(dollars)}
        price.objects.get_or_create(model=model, valid_from=VALID_FROM, defaults=fields)


class Migration(migrations.Migration):
    dependencies = [("sessions_app", "0003_place_by_call")]

    operations = [migrations.RunPython(add_prices, migrations.RunPython.noop)]
