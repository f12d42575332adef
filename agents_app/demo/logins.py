"""The demo's logins, whose passwords anyone can read here; a check refuses them outside DEBUG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError

from agents_app.demo.pack import BARTON, SEAVIEW
from agents_app.demo.standing import standing_clinic
from agents_app.models import Membership


@dataclass(frozen=True)
class DemoLogin:
    """`clinic` None and `role` None: the administrator of the installation."""

    username: str
    password: str
    clinic: str | None = None
    role: str | None = None


LOGINS = (
    DemoLogin("manager", "frontdesk-manager", BARTON.name, Membership.Role.MANAGER),
    DemoLogin("reviewer", "frontdesk-reviewer", BARTON.name, Membership.Role.REVIEWER),
    DemoLogin("seaview", "frontdesk-seaview", SEAVIEW.name, Membership.Role.MANAGER),
    DemoLogin("admin", "frontdesk-admin"),
)


def make_login(login: DemoLogin) -> User:
    """Return the user, made when missing. A password that somebody has changed stays."""
    platform = login.role is None
    user, made = User.objects.get_or_create(
        username=login.username, defaults={"is_staff": True, "is_superuser": platform}
    )
    if made:
        user.set_password(login.password)
        user.save(update_fields=["password"])
        if login.clinic and login.role:
            clinic = standing_clinic(login.clinic)
            Membership.objects.get_or_create(user=user, clinic=clinic, defaults={"role": login.role})
    return user


def standing_logins() -> list[DemoLogin]:
    """Return the logins that still open with the password written above."""
    users = {
        user.username: user for user in get_user_model().objects.filter(username__in=[row.username for row in LOGINS])
    }
    return [
        login
        for login in LOGINS
        if (user := users.get(login.username)) and user.is_active and user.check_password(login.password)
    ]


def register_checks() -> None:
    register(check_no_demo_password, Tags.security, deploy=True)


def check_no_demo_password(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Fail when anyone could log in with a password of the demo. Runs with `check --deploy`."""
    if settings.DEBUG:
        return []
    try:
        standing = standing_logins()
    except DatabaseError:  # before the first migration there is nobody
        return []
    return [
        Error(
            f"The user {login.username} has the demo's password.",
            hint="Delete the user, or give it another password: manage.py changepassword.",
            id="agents_app.E002",
        )
        for login in standing
    ]
