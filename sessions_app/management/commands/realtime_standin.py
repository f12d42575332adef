"""`manage.py realtime_standin`: run the stand-in for the Realtime API until it is told to stop."""

import asyncio
import signal
import socket
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from sessions_app.standin.faults import Faults, parse_fault
from sessions_app.standin.server import Standin, bound_socket, new_server


class Command(BaseCommand):
    help = "Run the embedded stand-in for the OpenAI Realtime API, on loopback."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8765, help="0 picks a free one (default: %(default)s)")
        parser.add_argument("--key", default=None, help="the only standard key that is accepted (default: any)")
        parser.add_argument("--fault", action="append", default=[], metavar="NAME=VALUE", help="a fault to begin with")
        parser.add_argument("--no-speech", action="store_true", help="tones for a voice, and no ear")

    def handle(self, *args: object, **options: object) -> None:
        faults = options["fault"]
        assert isinstance(faults, list)
        try:
            knobs = Faults(**dict(parse_fault(text) for text in faults))  # type: ignore[arg-type]
            listener = bound_socket(str(options["host"]), int(str(options["port"])))
        except ValueError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            reason = error.strerror or "cannot be used"
            raise CommandError(f"Cannot listen on {options['host']}:{options['port']}: {reason}.") from None
        key = options["key"]
        standin = Standin(faults=knobs, key=str(key) if key else None, speech=not options["no_speech"])
        asyncio.run(self._serve(standin, listener))

    async def _serve(self, standin: Standin, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        standin.port = port
        server = new_server(standin)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, setattr, server, "should_exit", True)
        self.stdout.write(f"stand-in listening on {host}:{port}")
        self.stdout.flush()
        try:
            await server.serve(sockets=[listener])
        finally:
            await standin.aclose()
