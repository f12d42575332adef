from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone

from agents_app.models import AgentVersion, Clinic
from sessions_app.models import CallSession, CallView, Recording
from sessions_app.views.recordings import MAX_PART_BYTES
from tests.make import make_agent, make_clinic, make_user

NAME = "abcdefghijklmnopqrstuvwxyz_-0123.m4a"
SMALL = bytes(range(256)) * 4
LARGE = b"".join(n.to_bytes(4, "big") for n in range(MAX_PART_BYTES // 4 * 5 // 2))

HEADERS = (
    "Accept-Ranges",
    "Cache-Control",
    "Content-Disposition",
    "Content-Length",
    "Content-Type",
    "X-Content-Type-Options",
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path
    (tmp_path / "recordings").mkdir()
    return tmp_path


def make_recording(directory: Path, *, content: bytes = SMALL, **fields: Any) -> Recording:
    """A call of a clinic of its own, with a finished recording on disk."""
    clinic = fields.pop("clinic", None) or make_clinic()
    version = AgentVersion.objects.create(agent=make_agent(clinic), number=1, content={}, content_hash="0" * 64)
    session = CallSession.objects.create(
        clinic=clinic, version=version, started_at=timezone.now(), channel=CallSession.Channel.WEB, recording_kept=True
    )
    (directory / "recordings" / NAME).write_bytes(content)
    return Recording.objects.create(
        session=session, **{"status": Recording.Status.READY, "file_name": NAME, "size_bytes": len(content), **fields}
    )


def listener(recording: Recording) -> Client:
    client = Client()
    client.force_login(make_user(recording.session.clinic))
    return client


def address(recording: Recording) -> str:
    return reverse("recording", args=[recording.session_id])


def ask(recording: Recording, range_header: str) -> HttpResponse:
    return listener(recording).get(address(recording), headers={"Range": range_header})  # type: ignore[return-value]


def doors() -> list[str]:
    return list(CallView.objects.values_list("door", flat=True))


def test_whole_recording_says_that_it_takes_ranges(data_dir: Path) -> None:
    recording = make_recording(data_dir)

    response = listener(recording).get(address(recording))

    assert (response.status_code, response.content) == (200, SMALL)
    headers = {name: response.headers[name] for name in HEADERS}
    assert headers == {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-store",
        "Content-Disposition": f'inline; filename="call-{recording.session.reference}.m4a"',
        "Content-Length": "1024",
        "Content-Type": "audio/mp4",
        "X-Content-Type-Options": "nosniff",
    }
    assert NAME not in str(response.headers)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-", 0, 1024),
        ("bytes=0-1", 0, 2),
        ("bytes=1000-", 1000, 1024),
        ("bytes=1000-5000", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-9999", 0, 1024),
        ("bytes=1023-1023", 1023, 1024),
    ],
)
def test_part_is_answered_with_its_place(data_dir: Path, asked: str, start: int, stop: int) -> None:
    response = ask(make_recording(data_dir), asked)

    assert (response.status_code, response.content) == (206, SMALL[start:stop])
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/1024"
    assert response.headers["Content-Length"] == str(stop - start)
    assert (response.headers["Cache-Control"], response.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=9999-10000", "bytes=-0"])
def test_part_beyond_the_end_is_416_with_the_length(data_dir: Path, asked: str) -> None:
    response = ask(make_recording(data_dir), asked)

    assert (response.status_code, response.content) == (416, b"")
    assert response.headers["Content-Range"] == "bytes */1024"
    assert doors() == []


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=x", "pages=1-2", "bytes=0-1,5-6"])
def test_header_that_asks_for_no_single_part_gets_the_whole(data_dir: Path, asked: str) -> None:
    response = ask(make_recording(data_dir), asked)

    assert (response.status_code, response.content) == (200, SMALL)


def test_answer_is_bounded_and_a_player_that_asks_on_gets_every_byte(data_dir: Path) -> None:
    recording = make_recording(data_dir, content=LARGE)
    client, got, sizes = listener(recording), b"", []

    while len(got) < len(LARGE):
        response = client.get(address(recording), headers={"Range": f"bytes={len(got)}-"})
        got += response.content
        sizes.append(len(response.content))

    assert got == LARGE
    assert sizes == [MAX_PART_BYTES, MAX_PART_BYTES, MAX_PART_BYTES // 2]


@pytest.mark.django_db(transaction=True)
def test_large_recording_without_a_range_comes_whole_in_bounded_pieces(data_dir: Path) -> None:
    recording = make_recording(data_dir, content=LARGE)
    client = AsyncClient()
    client.force_login(make_user(recording.session.clinic))

    async def fetch() -> tuple[dict[str, str], list[bytes]]:
        response = await client.get(address(recording))
        return dict(response.headers), [piece async for piece in response]  # type: ignore[attr-defined]

    headers, pieces = async_to_sync(fetch)()

    assert headers["Content-Length"] == str(len(LARGE))
    assert [len(piece) for piece in pieces] == [MAX_PART_BYTES, MAX_PART_BYTES, MAX_PART_BYTES // 2]
    assert b"".join(pieces) == LARGE


def test_head_tells_the_length_and_is_no_listening(data_dir: Path) -> None:
    recording = make_recording(data_dir)

    response = listener(recording).head(address(recording), headers={"Range": "bytes=0-1"})

    assert (response.status_code, response.content, response.headers["Content-Length"]) == (200, b"", "1024")
    assert response.headers["Accept-Ranges"] == "bytes"
    assert doors() == []


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_other_methods_are_refused(data_dir: Path, method: str) -> None:
    recording = make_recording(data_dir)

    assert getattr(listener(recording), method)(address(recording)).status_code == 405


def test_listening_leaves_one_row_however_many_parts_follow(data_dir: Path) -> None:
    recording = make_recording(data_dir)
    client = listener(recording)

    for asked in ("bytes=0-", "bytes=500-", "bytes=100-200"):
        client.get(address(recording), headers={"Range": asked})

    assert doors() == [CallView.Door.AUDIO]


def test_second_listening_leaves_a_second_row(data_dir: Path) -> None:
    recording = make_recording(data_dir)
    client = listener(recording)

    client.get(address(recording))
    client.get(address(recording), headers={"Range": "bytes=0-"})

    assert doors() == [CallView.Door.AUDIO] * 2


def test_who_begins_past_the_first_byte_has_listened_too(data_dir: Path) -> None:
    recording = make_recording(data_dir)
    first, second = listener(recording), listener(recording)

    for client in (first, second, second):
        client.get(address(recording), headers={"Range": "bytes=1-"})

    assert doors() == [CallView.Door.AUDIO] * 2


def test_anonymous_is_sent_to_the_login(data_dir: Path) -> None:
    recording = make_recording(data_dir)

    response = Client().get(address(recording))

    assert (response.status_code, response.headers["Location"].split("?")[0]) == (302, "/login/")
    assert doors() == []


def outsiders(clinic: Clinic) -> Iterator[User]:
    yield make_user(make_clinic())
    yield make_user()
    yield make_user(is_superuser=True)


def test_recording_of_another_clinic_does_not_exist(data_dir: Path) -> None:
    recording = make_recording(data_dir)
    statuses = []

    for user in outsiders(recording.session.clinic):
        client = Client()
        client.force_login(user)
        statuses.append(client.get(address(recording)).status_code)

    assert statuses == [404, 404, 404]
    assert doors() == []


def test_access_is_checked_on_every_part(data_dir: Path) -> None:
    recording = make_recording(data_dir)
    user = make_user(recording.session.clinic)
    client = Client()
    client.force_login(user)
    before = client.get(address(recording), headers={"Range": "bytes=0-9"}).status_code
    user.memberships.all().delete()

    after = client.get(address(recording), headers={"Range": "bytes=10-19"}).status_code

    assert (before, after) == (206, 404)


@pytest.mark.parametrize("status", [Recording.Status.WAITING, Recording.Status.FAILED])
def test_unfinished_recording_is_404(data_dir: Path, status: str) -> None:
    recording = make_recording(data_dir, status=status)

    assert listener(recording).get(address(recording)).status_code == 404


def test_call_without_a_recording_is_404(data_dir: Path) -> None:
    recording = make_recording(data_dir)
    client = listener(recording)
    recording.delete()

    assert client.get(address(recording)).status_code == 404
    assert client.get(reverse("recording", args=[uuid.uuid4()])).status_code == 404


def test_file_that_is_gone_is_404(data_dir: Path) -> None:
    recording = make_recording(data_dir)
    (data_dir / "recordings" / NAME).unlink()

    assert listener(recording).get(address(recording)).status_code == 404
    assert doors() == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../secret-of-the-clinic.m4a",
        "..%2fsecret-of-the-clinic.m4a",
        "%2e%2e%2fsecret-of-the-clinic.m4a",
        "..\\secret-of-the-clinic.m4a",
        "{root}/secret-of-the-clinic.m4a",
        "inner/secret-of-the-clinic.m4a",
        "secret-of-the-clinic.txt",
        "secret-of-the-clinic.m4a\x00.m4a",
        "secret-of-the-clinic.m4a\n",
        ".",
        "..",
        "link-to-the-secret-of-the-clinic.m4a",
        "a-directory-of-the-clinic.m4a",
        "a-pipe-that-would-wait-for-ever.m4a",
    ],
)
def test_name_that_leads_anywhere_else_is_404(data_dir: Path, name: str) -> None:
    if "\x00" in name and connection.vendor == "postgresql":
        pytest.skip("PostgreSQL holds no NUL in a text")
    secret = "secret-of-the-clinic"
    (data_dir / "recordings" / "inner").mkdir()
    for place in ("{}.m4a", "recordings/inner/{}.m4a", "recordings/{}.txt", "recordings/..%2f{}.m4a"):
        (data_dir / place.format(secret)).write_bytes(SMALL)
    (data_dir / "recordings" / f"link-to-the-{secret}.m4a").symlink_to(data_dir / f"{secret}.m4a")
    (data_dir / "recordings" / "a-directory-of-the-clinic.m4a").mkdir()
    os.mkfifo(data_dir / "recordings" / "a-pipe-that-would-wait-for-ever.m4a")
    recording = make_recording(data_dir, file_name=name.format(root=data_dir))

    assert listener(recording).get(address(recording)).status_code == 404
    assert doors() == []
