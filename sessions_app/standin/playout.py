"""The playout of a WebRTC call, whose sound the server itself plays: begun, finished, or cleared."""

from sessions_app.standin.wire import Json


class Playout:
    """Follows the events of a session and says which `output_audio_buffer` events come with them."""

    def __init__(self) -> None:
        self._playing: str | None = None

    def after(self, kind: str, fields: Json) -> list[tuple[str, Json]]:
        """Return the events that follow the one given."""
        if kind == "response.output_audio_transcript.delta" and self._playing is None:
            self._playing = fields["response_id"]
            return [("output_audio_buffer.started", {"response_id": self._playing})]
        if kind == "rate_limits.updated":
            return self._end("stopped")
        if kind == "response.done" and fields["response"]["status"] in ("cancelled", "failed"):
            return self._end("cleared")
        return []

    def clear(self) -> list[tuple[str, Json]]:
        return self._end("cleared")

    def _end(self, how: str) -> list[tuple[str, Json]]:
        playing, self._playing = self._playing, None
        return [(f"output_audio_buffer.{how}", {"response_id": playing})] if playing else []
