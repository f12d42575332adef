"""Owns the security headers of every page of ours. Knows nothing of what a page shows.

The admin is exempt: it brings scripts and styles of its own, written inline.
"""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse

EXEMPT_PREFIX = "/admin/"
PERMISSIONS_POLICY = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"


def content_security_policy(host: str) -> str:
    """Return the policy of a page served at `host`: nothing inline, nothing from elsewhere, framed by nobody.

    The sockets are spelled out, since Safari before 15.4 does not take 'self' to mean them. An empty host leaves
    them out.
    """
    sockets = f" ws://{host} wss://{host}" if host else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            f"connect-src 'self'{sockets}",
            "media-src 'self' blob:",
            "worker-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def security_headers(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Add the headers that a response does not carry already, so that a view may set stricter or other ones."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not request.path.startswith(EXEMPT_PREFIX):
            response.headers.setdefault("Content-Security-Policy", content_security_policy(_host(request)))
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response

    return middleware


def _host(request: HttpRequest) -> str:
    try:
        return request.get_host()
    except DisallowedHost:  # the 400 that says so passes here too
        return ""
