"""What a process does not need, it does not load: each of these takes 16 to 20 MiB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import _environment

LOOK = "; import sys; print(sorted({{'av', 'twisted', 'daphne.server'}} & sys.modules.keys()))"


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize(
    ("starts", "loaded"),
    [
        ("import config.asgi, config.serving", []),
        ("import django; django.setup(); import django_tasks_db.management.commands.db_worker", []),
        ("import config.serving_daphne", ["daphne.server", "twisted"]),
    ],
    ids=["uvicorn", "worker", "daphne"],
)
def test_process_loads_its_own_servers_modules_alone(starts: str, loaded: list[str], tmp_path: Path):
    said = subprocess.check_output(
        [sys.executable, "-c", starts + LOOK.format()], env=_environment(9, tmp_path), text=True, timeout=60
    )

    assert said.strip() == str(loaded)
