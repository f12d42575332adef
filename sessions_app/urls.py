"""The addresses of pages about calls."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from sessions_app import api, staff_api
from sessions_app.views import callback, connection, recordings, review, talk, tasks

urlpatterns = [
    path("", talk.home, name="home"),
    path("talk/<slug:public_name>/", talk.talk, name="talk"),
    path("talk/<slug:public_name>/callback/", callback.callback, name="callback"),
    path("calls/", review.calls, name="calls"),
    path("calls/<uuid:call_id>/", review.call, name="call"),
    path("calls/<uuid:call_id>/events/", review.events, name="call_events"),
    path("calls/<uuid:call_id>/reviewed/", review.mark_reviewed, name="call_reviewed"),
    path("calls/<uuid:pk>/audio", recordings.recording, name="recording"),
    path("tasks/", tasks.tasks, name="tasks"),
    path("tasks/<int:task_id>/done/", tasks.task_done, name="task_done"),
    path("connection/", connection.connection, name="connection"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(next_page="login"), name="logout"),
    path("api/", include(staff_api)),
    path("v1/realtime/client_secrets", api.ClientSecretsView.as_view(), name="client_secrets"),
]
