from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sessions_app', '0008_ledger'),
    ]

    operations = [
        migrations.AddField(
            model_name='item',
            name='revision',
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
    ]
