"""Tasks of the installation itself."""

from __future__ import annotations

from django_tasks import task


@task
def still_here() -> None:
    """What the doctor gives the worker to do: nothing, so that it is seen to be done."""
