"""How sensitive each stored field is, declared beside it and read by whatever stores, logs, exports or erases.

A model carries `data_classes = {DataClass.PUBLIC: "id name", ...}`; a test fails on a field that is in none of them.
"""

from __future__ import annotations

from enum import StrEnum


class DataClass(StrEnum):
    PUBLIC = "public"  # may be shown to anyone who may see the row
    PERSONAL = "personal"  # tells who somebody is: names, numbers, addresses
    HEALTH = "health"  # tells about somebody's health or care: words of a call, appointments
    SECRET = "secret"  # opens a door: keys, digests of tokens; never shown, exported or logged


def data_class(model: type, field_name: str) -> DataClass:
    """Return the class of `field_name` on `model`.

    Raises LookupError when the field has been given none: an unclassified field is a mistake, never public.
    """
    declared: dict[DataClass, str] = getattr(model, "data_classes", {})
    for kind, names in declared.items():
        if field_name in names.split():
            return kind
    raise LookupError(f"{model.__name__}.{field_name} has no data class")
