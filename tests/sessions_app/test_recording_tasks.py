from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

from agents_app.models import AgentVersion
from sessions_app import registry as registry_module
from sessions_app.models import CallSession, Recording
from sessions_app.recording import spool_path
from sessions_app.tasks import encode_recording, enqueue_left, enqueue_recording
from tests.make import make_agent
from tests.sessions_app.make_facts import ended, seen
from tests.spools import a_spool, finished, standing_still

pytestmark = pytest.mark.django_db

SECOND = b"\x00\x10" * 24_000


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def make_call(*, kept: bool = True) -> CallSession:
    agent = make_agent()
    version = AgentVersion.objects.create(agent=agent, number=1, content={}, content_hash="0" * 64)
    return CallSession.objects.create(
        clinic=agent.clinic,
        version=version,
        started_at=timezone.now(),
        channel=CallSession.Channel.WEB,
        recording_kept=kept,
    )


def speak(call: CallSession, directory: Path) -> Path:
    """Leave the spool of a call of one second."""
    spool = a_spool(call.pk, directory / "spool")
    spool.caller(SECOND, at_ms=0)
    path = finished(spool)
    assert path is not None
    return path


@pytest.mark.django_db(transaction=True)
def test_sound_is_encoded_when_it_is_on_the_disk_and_else_left_to_the_sweep(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(registry_module, "DISK_PATIENCE_S", 0.1)
    registry = registry_module.CallRegistry()
    stuck, other = make_call(), make_call()

    def end(call: CallSession) -> None:
        spool = a_spool(call.pk, data_dir / "spool", disk=registry._disk)
        spool.caller(SECOND, at_ms=0)
        spool.close()
        for fact in (ended(), seen(1)):  # what follows an end is done before the next batch is begun
            registry.recorder.put(call.pk, fact)
            assert registry.recorder.drain()

    try:
        with standing_still(spool_path(stuck.pk, directory=data_dir / "spool")):
            end(stuck)
        end(other)
    finally:
        registry.close()

    stuck.refresh_from_db()
    assert stuck.state == CallSession.State.ENDED
    assert list(Recording.objects.values_list("session", flat=True)) == [other.pk]


def run_worker() -> None:
    Worker(
        queue_names=["default"],
        interval=0,
        batch=True,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id="worker",
        excluded_queue_names=[],
    ).run()


@pytest.mark.django_db(transaction=True)
def test_worker_makes_a_recording_of_what_was_heard(data_dir: Path) -> None:
    call = make_call()
    spool = speak(call, data_dir)

    waiting = enqueue_recording(call)
    run_worker()

    assert waiting is not None
    assert waiting.status == Recording.Status.WAITING
    recording = Recording.objects.get(session=call)
    path = data_dir / "recordings" / recording.file_name
    assert (recording.status, recording.error_code) == (Recording.Status.READY, "")
    assert (recording.duration_ms, recording.size_bytes) == (1000, path.stat().st_size)
    assert recording.peaks == [[12, 0]] * 10
    assert not spool.exists()
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_task_is_given_the_calls_id_and_nothing_else(data_dir: Path) -> None:
    call = make_call()
    speak(call, data_dir)

    enqueue_recording(call)

    [task] = DBTaskResult.objects.all()
    assert task.args_kwargs == {"args": [str(call.pk)], "kwargs": {}}


def test_name_on_disk_tells_nothing_of_the_call(data_dir: Path) -> None:
    call = make_call()
    speak(call, data_dir)
    enqueue_recording(call)

    encode_recording.call(str(call.pk))

    name = Recording.objects.get(session=call).file_name
    assert len(name) == 32 + len(".m4a")
    assert str(call.pk) not in name
    assert call.reference not in name


def test_call_in_which_nobody_was_heard_has_no_recording(data_dir: Path) -> None:
    assert enqueue_recording(make_call()) is None
    assert Recording.objects.count() == DBTaskResult.objects.count() == 0


def test_sound_that_may_not_be_kept_is_removed(data_dir: Path) -> None:
    call = make_call(kept=False)
    spool = speak(call, data_dir)

    assert enqueue_recording(call) is None
    assert not spool.exists()
    assert Recording.objects.count() == 0


def test_running_twice_changes_nothing(data_dir: Path) -> None:
    call = make_call()
    speak(call, data_dir)
    enqueue_recording(call)
    encode_recording.call(str(call.pk))
    before = Recording.objects.values().get()

    encode_recording.call(str(call.pk))

    assert Recording.objects.values().get() == before
    assert [path.name for path in (data_dir / "recordings").iterdir()] == [before["file_name"]]


def test_run_that_was_cut_off_before_it_removed_the_spool_is_finished_by_the_next(data_dir: Path) -> None:
    call = make_call()
    spool = speak(call, data_dir)
    shutil.copy(spool, data_dir / "copy")
    enqueue_recording(call)
    encode_recording.call(str(call.pk))
    shutil.copy(data_dir / "copy", spool)

    encode_recording.call(str(call.pk))

    assert not spool.exists()
    assert len(list((data_dir / "recordings").iterdir())) == 1


def test_enqueueing_again_is_harmless_and_mends_a_lost_task(data_dir: Path) -> None:
    call = make_call()
    speak(call, data_dir)
    first = enqueue_recording(call)
    DBTaskResult.objects.all().delete()

    second = enqueue_recording(call)
    encode_recording.call(str(call.pk))
    enqueue_recording(call)

    assert first == second
    assert DBTaskResult.objects.count() == 1
    assert Recording.objects.get().status == Recording.Status.READY


def test_failure_is_kept_by_its_type_alone(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    call = make_call()
    spool = speak(call, data_dir)
    spool.write_bytes(b"what the patient said about her tooth, which is no spool")
    enqueue_recording(call)

    encode_recording.call(str(call.pk))

    recording = Recording.objects.get(session=call)
    assert (recording.status, recording.error_code) == (Recording.Status.FAILED, "SpoolUnreadable")
    [record] = caplog.records
    assert record.getMessage() == "Recording failed"
    assert (record.call, record.error, record.exc_info) == (str(call.pk), "SpoolUnreadable", None)  # type: ignore[attr-defined]
    assert spool.exists()
    assert list((data_dir / "recordings").iterdir()) == []


def test_spool_that_is_gone_is_a_failure_and_no_crash(data_dir: Path) -> None:
    call = make_call()
    speak(call, data_dir).unlink()
    Recording.objects.create(session=call)

    encode_recording.call(str(call.pk))

    assert Recording.objects.get().error_code == "FileNotFoundError"


def test_sound_of_a_call_that_ended_with_nobody_to_see_to_it_is_found(data_dir: Path) -> None:
    ended_at = timezone.now() - timedelta(minutes=2)
    left, over, not_kept, going_on = make_call(), make_call(), make_call(kept=False), make_call()
    CallSession.objects.filter(pk__in=[left.pk, not_kept.pk]).update(state="ended", ended_at=ended_at)
    CallSession.objects.filter(pk=over.pk).update(state="ended", ended_at=timezone.now())  # its process is at it
    spools = {call.pk: speak(call, data_dir) for call in (left, over, not_kept, going_on)}
    (data_dir / "spool" / "notes.txt").touch()

    found = [enqueue_left(), enqueue_left()]

    assert found == [2, 0]
    assert [row.session_id for row in Recording.objects.all()] == [left.pk]
    assert [call_id for call_id, spool in spools.items() if not spool.exists()] == [not_kept.pk]


def left_by_a_killed_worker(directory: Path) -> CallSession:
    """A call whose worker began two hours ago, and is not there any more."""
    call = make_call()
    CallSession.objects.filter(pk=call.pk).update(state="ended", ended_at=timezone.now() - timedelta(hours=3))
    speak(call, directory)
    enqueue_recording(call)
    Recording.objects.filter(session=call).update(created_at=timezone.now() - timedelta(hours=3))
    kill(timezone.now() - timedelta(hours=2))
    return call


def kill(began: datetime) -> None:
    """Let the worker that took what was queued be gone."""
    DBTaskResult.objects.filter(status="READY").update(status="RUNNING", started_at=began)


def test_sound_whose_worker_was_killed_is_given_to_another(data_dir: Path) -> None:
    left_by_a_killed_worker(data_dir)

    found = [enqueue_left(), enqueue_left()]
    [queued] = DBTaskResult.objects.filter(status="READY")
    encode_recording.call(*queued.args_kwargs["args"])

    assert found == [1, 0]
    assert Recording.objects.get().status == Recording.Status.READY


def test_sound_that_a_worker_has_is_left_to_it(data_dir: Path) -> None:
    left_by_a_killed_worker(data_dir)
    enqueue_left()
    kill(timezone.now() - timedelta(minutes=1))  # not yet, that is

    assert enqueue_left() == 0


def test_sound_that_kills_its_workers_fails_after_three(data_dir: Path) -> None:
    left_by_a_killed_worker(data_dir)
    for _ in range(2):
        assert enqueue_left() == 1
        kill(timezone.now() - timedelta(hours=2))

    assert enqueue_left() == 0
    recording = Recording.objects.get()
    assert (recording.status, recording.error_code) == (Recording.Status.FAILED, "WorkerKilled")
