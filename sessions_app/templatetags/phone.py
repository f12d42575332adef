"""How a phone number is dialled from a page."""

from __future__ import annotations

import re

from django import template

register = template.Library()


@register.filter
def tel(phone: str, also: str = "") -> str:
    """Return what a `tel:` link needs of a phone number as people write it; "" when nothing of it can be dialled.

    `also`: what is dialled beside digits, such as "*#" in a clinic's own number. Not in a caller's, which could set up
    call forwarding.
    """
    # An extension is dialled after a pause, which RFC 3966 writes as a parameter.
    mark = r"extension|ext\.?|x" if "#" in also else r"extension|ext\.?|x|#"
    number, *extension = re.split(rf"(?i)\s*(?:{mark})\s*(?=\d)", phone, maxsplit=1)
    digits = re.sub(rf"[^\d{re.escape(also)}]", "", number)
    if not digits:
        return ""
    plus = "+" if number.strip().startswith("+") else ""
    suffix = re.sub(r"\D", "", "".join(extension))
    return f"tel:{plus}{digits}" + (f";ext={suffix}" if suffix else "")
