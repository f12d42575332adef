from decimal import Decimal

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents_app", "0005_voice_services"),
    ]

    operations = [
        migrations.AddField(
            model_name="agent",
            name="max_concurrent_calls",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="Empty: as many as the clinic has lines.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(500)],
                verbose_name="calls at once",
            ),
        ),
        migrations.AddField(
            model_name="clinic",
            name="daily_cap_usd",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                help_text="The day is the clinic's own. Empty: no bound. Beyond it no call begins, and those under way end.",
                max_digits=9,
                null=True,
                validators=[django.core.validators.MinValueValidator(Decimal("0.01"))],
                verbose_name="most that a day's calls may cost, US dollars",
            ),
        ),
        migrations.AddField(
            model_name="clinic",
            name="max_calls_per_address",
            field=models.PositiveSmallIntegerField(
                default=3,
                help_text="A household, or an office behind one router. Programs with an API token are not bound by it.",
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(500)],
                verbose_name="calls at once from one address",
            ),
        ),
        migrations.AddField(
            model_name="clinic",
            name="max_calls_per_network",
            field=models.PositiveSmallIntegerField(
                default=10,
                help_text="The 256 addresses around a caller's, or the site of an IPv6 one.",
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(500)],
                verbose_name="calls at once from one network",
            ),
        ),
        migrations.AddField(
            model_name="clinic",
            name="monthly_cap_usd",
            field=models.DecimalField(
                blank=True,
                decimal_places=2,
                max_digits=9,
                null=True,
                validators=[django.core.validators.MinValueValidator(Decimal("0.01"))],
                verbose_name="most that a month's calls may cost, US dollars",
            ),
        ),
    ]
