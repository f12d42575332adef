"""HTTP to Django, WebSockets to the calls."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
http = get_asgi_application()  # before anything that imports models

from config.operations import Operations  # noqa: E402 - the apps must be ready first
from config.startup import refuse_wrong_installation  # noqa: E402 - the apps must be ready first
from sessions_app.routing import call_patterns  # noqa: E402 - the apps must be ready first

refuse_wrong_installation()
application = ProtocolTypeRouter({"http": Operations(http), "websocket": URLRouter(call_patterns)})
