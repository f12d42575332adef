from __future__ import annotations

import pytest
from django.apps import apps
from django.db import models

from agents_app.data_classes import DataClass, data_class

OUR_MODELS = [
    model for label in ("agents_app", "practice", "sessions_app") for model in apps.get_app_config(label).get_models()
]


def test_all_three_apps_have_models():
    assert {model._meta.app_label for model in OUR_MODELS} == {"agents_app", "practice", "sessions_app"}


@pytest.mark.parametrize("model", OUR_MODELS, ids=lambda model: model._meta.label)
def test_each_field_is_classified_exactly_once(model: type[models.Model]):
    fields = [field.name for field in (*model._meta.fields, *model._meta.local_many_to_many)]
    if "patients" in fields and model.__name__ == "CallSession":
        fields.remove("patients")  # its rows are a model of their own, CallPatient, and classified there

    declared: dict[DataClass, str] = getattr(model, "data_classes", {})
    classified = [name for names in declared.values() for name in names.split()]

    assert sorted(classified) == sorted(fields)
    assert set(declared) <= set(DataClass)


def test_unclassified_field_is_a_mistake():
    with pytest.raises(LookupError):
        data_class(OUR_MODELS[0], "no_such_field")
