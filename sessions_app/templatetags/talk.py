"""Template filters of the patient's pages."""

from __future__ import annotations

import re

from django import template

register = template.Library()


@register.filter
def tel(number: str) -> str:
    """Return the address that dials `number`, however it is written: "+1 (555) 0100" becomes "tel:+15550100"."""
    return "tel:" + re.sub(r"[^\d+*#]", "", number)
