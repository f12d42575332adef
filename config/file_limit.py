"""How many files a process may hold open: a login often gives 1,024, and allows for more."""

from __future__ import annotations

import resource

FILES = 65_536  # a call needs two


def raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
