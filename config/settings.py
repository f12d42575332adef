"""Every setting, read once from the environment or `.env`; a missing or wrong one stops the start in one line.

Nothing else in the project reads the environment.
"""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from config import logs

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()


def _read_dotenv(path: Path) -> None:
    """Add what the file says to the environment, which wins over it. A file that is not there says nothing."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        raise ImproperlyConfigured(f"{path} cannot be read as UTF-8 text") from None
    for number, line in enumerate(lines, start=1):
        # django-environ would go on without a broken line, and log it: it may hold a secret.
        if line and not re.match(r"#|(export )?\w+=", line):
            raise ImproperlyConfigured(f"{path}, line {number}: expected NAME=value")
    environ.Env.read_env(StringIO("\n".join(lines)))


_read_dotenv(BASE_DIR / ".env")


def _read(name: str, cast: Any, default: Any = environ.Env.NOTSET) -> Any:
    """Return the setting `name`; a wrong value is one clear line, which does not repeat it: it may be a secret.

    An empty value is none: `NAME=` is how a line of .env is switched off.
    """
    if not env.ENVIRON.get(name):
        if default is environ.Env.NOTSET:
            raise ImproperlyConfigured(f"{name} is not set; see .env.example")
        return default
    try:
        return env.get_value(name, cast=cast)
    except (ImproperlyConfigured, ValueError, TypeError):
        raise ImproperlyConfigured(f"{name} is not a valid {cast.__name__}; see .env.example") from None


def _strict_bool(text: str) -> bool:
    words = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
    try:
        return words[str(text).strip().lower()]
    except KeyError:
        raise ValueError from None


_strict_bool.__name__ = "truth value (true or false)"


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


_count.__name__ = "whole number from 0"


def _dollars(text: str) -> Decimal:
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,2})?", text.strip()) or not Decimal(text):
        raise ValueError
    return Decimal(text)


_dollars.__name__ = "amount of US dollars"

DEBUG: bool = _read("DEBUG", _strict_bool, default=False)

# In DEBUG the secrets have values that anyone can read in this file; outside DEBUG they have none at all.
DEVELOPMENT_SECRET_KEY = "insecure-development-key"
SECRET_KEY: str = _read("SECRET_KEY", str, default=DEVELOPMENT_SECRET_KEY if DEBUG else environ.Env.NOTSET)
_LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]
ALLOWED_HOSTS: list[str] = _read("ALLOWED_HOSTS", list, default=_LOOPBACK if DEBUG else environ.Env.NOTSET)

DEVELOPMENT_DATA_KEY = "ZnJvbnRkZXNrLWRldmVsb3BtZW50LWRhdGEta2V5ISE="
# The first encrypts, all decrypt. Never SECRET_KEY: that one is rotated without a thought for stored data.
DATA_KEYS: list[str] = _read("DATA_KEYS", list, default=[DEVELOPMENT_DATA_KEY] if DEBUG else environ.Env.NOTSET)
try:
    FERNETS = [Fernet(key) for key in DATA_KEYS]
except ValueError:
    raise ImproperlyConfigured(
        "DATA_KEYS must be Fernet keys, 32 bytes in URL-safe base64, parted by commas; see .env.example"
    ) from None
if not FERNETS:
    raise ImproperlyConfigured("DATA_KEYS is empty; see .env.example")

DATA_DIR = Path(_read("DATA_DIR", str, default=str(BASE_DIR / "var")))

_database_url: str = _read("DATABASE_URL", str, default=f"sqlite:///{DATA_DIR / 'frontdesk.sqlite3'}")
_DATABASE_URL_IS_WRONG = "DATABASE_URL must be sqlite:///path or postgres://user:password@host/name"
# Looked at first: django-environ warns of a scheme that it does not know, and shows the password.
if not _database_url.startswith(("sqlite:", "postgres:", "postgresql:")):
    raise ImproperlyConfigured(_DATABASE_URL_IS_WRONG)
try:
    DATABASES: dict[str, dict[str, Any]] = {"default": environ.Env.db_url_config(_database_url)}
except (ImproperlyConfigured, ValueError, KeyError):
    raise ImproperlyConfigured(_DATABASE_URL_IS_WRONG) from None
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    if DATABASES["default"]["NAME"] == ":memory:":
        raise ImproperlyConfigured("DATABASE_URL must name a file: several processes share the database")
    _database_path = Path(DATABASES["default"]["NAME"])
    try:
        _database_path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        raise ImproperlyConfigured(f"{_database_path.parent} cannot be made; see DATA_DIR in .env.example") from None
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,  # seconds a writer waits for another
        "transaction_mode": "IMMEDIATE",  # a transaction that begins with a read cannot then fail to become a writer
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    # A file, since the call's threads each hold a connection of their own.
    DATABASES["default"]["TEST"] = {"NAME": str(_database_path.with_name(f"test_{_database_path.name}"))}
else:
    # What is bounded here is a fault of ours or the server's: a tool has its own, shorter limit.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,  # seconds
        "tcp_user_timeout": 10_000,  # ms that a server's machine may leave what was sent unacknowledged
        "keepalives_idle": 10,  # seconds, as is the next
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # ms; a migration sets its own: see config/migrating.py.
        "options": "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000",
        # A hop to a thread costs a query, not a connection. 16 threads run tools; the rest is for the loop's own and
        # for pages. The recorder's connection is beside the pool.
        "pool": {
            "min_size": 1,
            "max_size": 32,
            "timeout": 5,  # seconds that a hop waits for a free connection
            "max_idle": 15,  # seconds, after which those beyond `min_size` are closed: others share the server
            "reconnect_timeout": 3,  # seconds, then whoever asks next tries again: the default's pauses grow to minutes
        },
        **DATABASES["default"].get("OPTIONS", {}),
    }
    # Asked before each hop, about 0.1 ms: the first hops after a restart of the server get new connections.
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

REDIS_URL: str = _read("REDIS_URL", str, default="")
if REDIS_URL and not REDIS_URL.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("REDIS_URL must begin with redis://, rediss:// or unix://")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

# Not for .env: `make run` lets the stand-in pick a free port, and names it to the other processes.
STANDIN_PORT: int = _read("STANDIN_PORT", _count, default=8765)
STANDIN_URL = f"http://127.0.0.1:{STANDIN_PORT}/v1"
OPENAI_API_KEY: str = _read("OPENAI_API_KEY", str, default="")
_default_base_url = STANDIN_URL if DEBUG and not OPENAI_API_KEY else "https://api.openai.com/v1"
OPENAI_BASE_URL: str = _read("OPENAI_BASE_URL", str, default=_default_base_url).rstrip("/")
if not OPENAI_BASE_URL.startswith(("http://", "https://")):
    raise ImproperlyConfigured("OPENAI_BASE_URL must begin with http:// or https://")

# The most that the calls of all clinics may cost in a day, and in a month: US dollars; none: no bound.
DAILY_CAP_USD: Decimal | None = _read("DAILY_CAP_USD", _dollars, default=None)
MONTHLY_CAP_USD: Decimal | None = _read("MONTHLY_CAP_USD", _dollars, default=None)

# How many proxies stand before us, each of which appends to X-Forwarded-For.
TRUSTED_PROXIES: int = _read("TRUSTED_PROXIES", _count, default=0)
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # a trusted proxy writes it anew
# With it, /metrics is for whoever shows it; without, for this machine alone.
METRICS_TOKEN: str = _read("METRICS_TOKEN", str, default="")
DRAIN_SECONDS: int = _read("DRAIN_SECONDS", _count, default=600)

INSTALLED_APPS = [
    *(["daphne"] if "runserver" in sys.argv[1:2] else []),  # runserver's alone: it takes 20 MiB, and the loop it finds
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "django_tasks",
    "django_tasks_db",
    "agents_app",
    "agents_app.practice",
    "sessions_app",
    "config",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.middleware.security_headers",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/calls/"

LANGUAGE_CODE = "en-us"
LANGUAGES = [("en", "English")]  # until there are catalogs: else an English page is marked as written in the reader's
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
# Beside the data, not the code: what collectstatic makes stays when an upgrade replaces the code, so that pages which
# are open meanwhile find what they ask for.
STATIC_ROOT = DATA_DIR / "static"
WHITENOISE_AUTOREFRESH = DEBUG  # the test runner switches DEBUG off, and collected files are not there then
if not DEBUG:
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "config.static_files.HashedFiles"},
    }

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

UNFOLD = {"SITE_TITLE": "Frontdesk", "SITE_HEADER": "Frontdesk", "SITE_SYMBOL": "support_agent"}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {"TITLE": "Frontdesk staff API", "VERSION": "1", "SERVE_INCLUDE_SCHEMA": False}

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

LOGGING = logs.configuration(debug=DEBUG)
