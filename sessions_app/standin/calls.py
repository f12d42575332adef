"""WebRTC calls whose media is faked: the session beside each, for a sideband to steer, and its hang-up."""

from sessions_app.standin.session import Session
from sessions_app.standin.wire import Refusal, new_id

MAX_CALLS = 1000
CLOSED_NORMALLY = 1000


class Calls:
    """The calls that run, by id."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def begin(self, session: Session) -> str:
        """Take a session up as a call; return its id, which shares its suffix with the session's."""
        if len(self._sessions) >= MAX_CALLS:
            self.hang_up(next(iter(self._sessions)))
        suffix = new_id("u1")
        session.configuration["id"] = f"sess_{suffix}"
        self._sessions[f"rtc_{suffix}"] = session
        return f"rtc_{suffix}"

    def find(self, call_id: str) -> Session:
        """Return a call's session, or raise Refusal, which is a 404."""
        if call_id not in self._sessions:
            raise Refusal("call_id_not_found", "No session found for the provided call_id.", param="")
        return self._sessions[call_id]

    def hang_up(self, call_id: str) -> None:
        session = self.find(call_id)
        del self._sessions[call_id]
        session.stop()
        for leg in session.legs:
            leg.close(CLOSED_NORMALLY)

    def hang_up_all(self) -> None:
        for call_id in list(self._sessions):
            self.hang_up(call_id)


def answer_to(offer: str) -> str:
    """Return an SDP answer with the offer's media lines: enough for a client to read, no media flows."""
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=ice-lite"]
    for line in offer.splitlines():
        if line.startswith("m=audio"):
            lines += ["m=audio 9 UDP/TLS/RTP/SAVPF 111 0 8", "c=IN IP4 127.0.0.1", "a=setup:passive"]
            lines += ["a=mid:0", "a=rtpmap:111 opus/48000/2", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000"]
        if line.startswith("m=application"):
            lines += ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 127.0.0.1", "a=sctp-port:5000"]
    return "\r\n".join(lines) + "\r\n"
