"""Lists of patients' rows are searched by POST: what is looked for may name a patient, and stands in no address.

It leads to an address in which the words stand sealed, so that pages, orders and filters can keep them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeListSearchForm
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.views import ChangeList

from agents_app.sealing import SealBroken, seal, unseal

SEARCHED_CHARS = 100


class SealedSearchForm(ChangeListSearchForm):
    """Reads an address. Words in the open, or that somebody else sealed, are left out."""

    def __init__(self, *args: Any, user: AbstractBaseUser | AnonymousUser, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean_q(self) -> str:
        try:
            return unseal(self.cleaned_data[SEARCH_VAR], place=_place(self._user))
        except SealBroken:
            return ""


class SealedChangeList(ChangeList):  # type: ignore[misc]  # unfold is untyped
    """A list that knows the words, and whose links have them sealed, as the address has."""

    searched_chars = SEARCHED_CHARS

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.search_form_class = partial(SealedSearchForm, user=request.user)
        super().__init__(request, *args, **kwargs)


class SealedSearch:
    """Mixed into the page of a model with patient data."""

    change_list_template = "admin/sealed_search.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SealedChangeList]:
        return SealedChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method == "POST" and SEARCH_VAR in request.POST:
            return HttpResponseRedirect(_sealed_address(request))
        response: HttpResponse = super().changelist_view(request, extra_context)  # type: ignore[misc]  # a page's
        return response


def _sealed_address(request: HttpRequest) -> str:
    query = request.GET.copy()
    query.pop(SEARCH_VAR, None)
    query.pop(PAGE_VAR, None)
    words = request.POST[SEARCH_VAR].replace("\x00", "").strip()[:SEARCHED_CHARS]
    if words:
        query[SEARCH_VAR] = seal(words, place=_place(request.user))
    return f"{request.path}?{query.urlencode()}"


def _place(user: AbstractBaseUser | AnonymousUser) -> str:
    """Sealed words open for whoever sealed them alone."""
    return f"admin search:{user.pk}"
