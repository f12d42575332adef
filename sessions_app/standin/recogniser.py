"""The recogniser's process: sound comes in on standard input, words go out on standard output.

A process of its own because pocketsphinx never lets go of the interpreter's lock: in a thread it held the event
loop up for half a second. It ends when its input does, so it cannot outlive the server.
"""

import json
import signal
import struct
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

from pocketsphinx import Decoder, get_model_path

from sessions_app.standin.grammar import jsgf, settled

HEADER = struct.Struct(">II")
"""The lengths of what follows: JSON, then PCM."""

RATE = 16_000
GRAMMARS_KEPT = 8


class Recogniser:
    """Two decoders of the same sound: an open language model and a closed grammar."""

    def __init__(self) -> None:
        self._open = Decoder(samprate=RATE, loglevel="FATAL")
        self._closed = Decoder(
            hmm=get_model_path("en-us/en-us"),
            dict=get_model_path("en-us/cmudict-en-us.dict"),
            lm=None,
            bestpath=False,  # five times as fast, and measured no worse: the sentences are fixed
            samprate=RATE,
            loglevel="FATAL",
        )
        self._grammars: OrderedDict[str, None] = OrderedDict()

    def words(self, pcm: bytes, *, verbs: list[str], things: list[str]) -> str:
        self._use_grammar(verbs, things)
        return settled(_decoded(self._closed, pcm), _decoded(self._open, pcm))

    def _use_grammar(self, verbs: list[str], things: list[str]) -> None:
        name = "g" + format(hash((tuple(verbs), tuple(things))) & 0xFFFFFFFF, "x")
        if name not in self._grammars:
            self._closed.add_jsgf_string(name, jsgf(verbs, things, knows=self._knows))
            self._grammars[name] = None
        self._closed.activate_search(name)
        self._grammars.move_to_end(name)
        if len(self._grammars) > GRAMMARS_KEPT:
            self._closed.remove_search(self._grammars.popitem(last=False)[0])

    def _knows(self, word: str) -> bool:
        return self._closed.lookup_word(word) is not None


def _decoded(decoder: Any, pcm: bytes) -> str:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return str(hypothesis.hypstr) if hypothesis else ""


def _read(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server ends it, by closing its input
    recogniser = Recogniser()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            json_length, pcm_length = HEADER.unpack(_read(source, HEADER.size))
            request = json.loads(_read(source, json_length))
            pcm = _read(source, pcm_length)
        except EOFError:
            return
        answer = json.dumps(recogniser.words(pcm, verbs=request["verbs"], things=request["things"])).encode()
        sink.write(HEADER.pack(len(answer), 0) + answer)
        sink.flush()


if __name__ == "__main__":
    main()
