"""What the review page says in words that depend on the call, and what its scripts say."""

from __future__ import annotations

from datetime import timedelta

from django.utils.timezone import now
from django.utils.translation import gettext as _

from sessions_app.models import CallSession, Recording

SEEN_TO_WITHIN = timedelta(minutes=3)  # of its end: a call's sound has a row by then, if there is any


def why_silent(session: CallSession, recording: Recording | None) -> str:
    """Return why there is nothing to hear: a reader must be able to tell a decision from a fault."""
    if recording is not None or session.recording_kept:
        return _why_not_there(session, recording)
    if session.notice_answer == "declined":
        return _("The caller did not agree to it.")
    if session.notice_answer != "accepted":
        return _("The caller was shown no notice, so nothing was kept.")
    return _("The clinic did not keep the sound of calls at that time.")


def _why_not_there(session: CallSession, recording: Recording | None) -> str:
    """Return why sound that is to be kept cannot be heard."""
    if session.state != CallSession.State.ENDED:
        return _("It is prepared when the call has ended.")
    if recording is None:
        empty = session.ended_at is not None and session.ended_at < now() - SEEN_TO_WITHIN
    else:
        empty = recording.error_code == "NothingRecorded"
    if empty:
        return _("Nobody was heard in this call, or nothing could be written down.")
    if recording is not None and recording.status == Recording.Status.FAILED:
        return _("It could not be prepared, and cannot be got back. What was said stands in the transcript.")
    return _("It is being prepared. Load the page again in a minute.")


def texts(agent_name: str) -> dict[str, str]:
    """Return what the player says. Words in braces are filled in by the page."""
    return {
        "length": _("{minutes} minutes {seconds} seconds"),
        "position": _("{now} of {whole}"),
        "caller": _("caller speaking"),
        "agent": _("%(name)s speaking") % {"name": agent_name},
        "playing": _("Playing"),
        "paused": _("Paused"),
        "ended": _("End of the call"),
        "loading": _("Loading the sound …"),
        "failed": _("The sound could not be loaded. Load the page again, or tell your administrator."),
        "speed": _("Speed {speed}"),
        "follow_on": _("Follows the sound"),
        "follow_off": _("Does not follow the sound"),
        "hit": _("{n} of {count}"),
        "no_hits": _("no hits"),
        "copied": _("The link is copied. It opens at {at}."),
        "not_copied": _("The link could not be copied. It stands in the address bar."),
        "nothing_further": _("Nothing further on"),
        "log_failed": _("The event log could not be loaded."),
    }
