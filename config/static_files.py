"""Static files outside DEBUG: collected once by `collectstatic`, each under a name that holds its own digest.

Knows nothing of recordings: those are never static files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import get_finders
from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # whitenoise has no types
    """Modules import one another by hashed names too: after an upgrade no page mixes old scripts with new."""

    support_js_module_import_aggregation = True


def trouble(root: Path, manifest_name: str = HashedFiles.manifest_name) -> str:
    """Return what is wrong with the collected files, or "". With old ones, pages would run last month's scripts."""
    try:
        collected = (root / manifest_name).stat().st_mtime
    except OSError:
        return "The static files have not been collected."
    if any(changed > collected for changed in _times()):
        return "The static files have changed since they were collected."
    return ""


def _times() -> list[float]:
    found: list[tuple[str, Any]] = [pair for finder in get_finders() for pair in finder.list(None)]
    return [Path(storage.path(name)).stat().st_mtime for name, storage in found]
