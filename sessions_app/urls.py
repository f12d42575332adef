"""The addresses of pages about calls."""

from __future__ import annotations

from django.urls import path

from sessions_app.views import talk

urlpatterns = [
    path("", talk.home, name="home"),
    path("talk/<slug:public_name>/", talk.talk, name="talk"),
]
