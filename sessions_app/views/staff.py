"""What every staff page has in common. Knows nothing of calls or tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.contrib.auth.decorators import login_required
from django.http import HttpResponseBase
from django.views.decorators.cache import never_cache

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def staff_page(view: View) -> View:
    """Ask for a login, and keep the page out of every cache: it shows what patients said.

    The method is checked before it, outside: a method that is not meant is refused to anybody alike.
    """
    return never_cache(login_required(view))
