import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sessions_app', '0011_stop_a_call'),
    ]

    operations = [
        migrations.AlterField(
            model_name='price',
            name='audio_cached',
            field=models.DecimalField(decimal_places=4, max_digits=9, validators=[django.core.validators.MinValueValidator(0)], verbose_name='audio in, cached'),
        ),
        migrations.AlterField(
            model_name='price',
            name='audio_in',
            field=models.DecimalField(decimal_places=4, max_digits=9, validators=[django.core.validators.MinValueValidator(0)], verbose_name='audio in'),
        ),
        migrations.AlterField(
            model_name='price',
            name='audio_minute',
            field=models.DecimalField(decimal_places=4, default=0, max_digits=9, validators=[django.core.validators.MinValueValidator(0)], verbose_name='a minute of sound'),
        ),
        migrations.AlterField(
            model_name='price',
            name='audio_out',
            field=models.DecimalField(decimal_places=4, max_digits=9, validators=[django.core.validators.MinValueValidator(0)], verbose_name='audio out'),
        ),
        migrations.AlterField(
            model_name='price',
            name='text_cached',
            field=models.DecimalField(decimal_places=4, max_digits=9, validators=[django.core.validators.MinValueValidator(0)], verbose_name='text in, cached'),
        ),
        migrations.AlterField(
            model_name='price',
            name='text_in',
            field=models.DecimalField(decimal_places=4, max_digits=9, validators=[django.core.validators.MinValueValidator(0)], verbose_name='text in'),
        ),
        migrations.AlterField(
            model_name='price',
            name='text_out',
            field=models.DecimalField(decimal_places=4, max_digits=9, validators=[django.core.validators.MinValueValidator(0)], verbose_name='text out'),
        ),
    ]
