"""The installation under test: the project's own settings, and one more app with the tool whose query is slow."""

from config.settings import *  # noqa: F403 - a settings file is its names
from config.settings import INSTALLED_APPS as ITS_APPS

INSTALLED_APPS = [*ITS_APPS, "bench"]
