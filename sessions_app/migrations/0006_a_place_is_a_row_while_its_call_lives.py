"""A place belongs to one call and names what it is counted by. Places of calls under way are taken anew by no one."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents_app", "0006_bounds_of_a_clinic"),
        ("sessions_app", "0005_a_write_that_asked"),
    ]

    operations = [
        migrations.DeleteModel(name="Place"),
        migrations.CreateModel(
            name="Place",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("call_id", models.UUIDField(unique=True)),
                ("address_digest", models.CharField(blank=True, max_length=64)),
                ("network_digest", models.CharField(blank=True, max_length=64)),
                ("lease_until", models.DateTimeField()),
                (
                    "agent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="agents_app.agent"
                    ),
                ),
                (
                    "clinic",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="agents_app.clinic"
                    ),
                ),
            ],
        ),
    ]
