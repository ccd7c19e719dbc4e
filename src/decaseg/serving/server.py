"""Runs it all: binds, loads the model, answers, and ends in order."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import uvicorn

from decaseg.serving.access import Access, is_loopback
from decaseg.serving.app import Service, make_app
from decaseg.serving.heap import keep_little, return_freed_memory
from decaseg.serving.intake import Intake
from decaseg.serving.jobs import Jobs
from decaseg.serving.limits import CONNECTIONS, HEAD_BYTES, Limits
from decaseg.serving.logs import EventLog, capture
from decaseg.serving.metrics import Counters
from decaseg.serving.protocol import PacedProtocol
from decaseg.serving.sessions import Sessions
from decaseg.serving.spool import Spool
from decaseg.serving.supervisor import Supervisor
from decaseg.serving.worker import Loaded

FETCH_S = 5.0  # at shutdown, for clients to fetch the results of jobs that are done
CLOSE_S = 3  # then, for connections to end
SWEEP_S = 5.0
INTERRUPTED = 130
HANDSHAKE_S = 10  # of TLS
NO_TLS = "images and the token travel unencrypted; give --tls-cert and --tls-key, or put a proxy with TLS in front"


@dataclass(frozen=True)
class Where:
    """Where to listen; with `certificate` and `key` (PEM files) over TLS."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None


@dataclass
class _Ending:
    """How the server was asked to end."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: asyncio.Event = field(default_factory=asyncio.Event)
    code: int = 0

    def ask(self, code: int) -> None:
        if self.asked.is_set():
            self.at_once.set()
        self.code = code
        self.asked.set()


class _Server(uvicorn.Server):
    """uvicorn, without its handlers of signals: jobs are ended in order before it is."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def serve(
    open_model: Callable[[], Loaded],
    where: Where,
    access: Access,
    limits: Limits,
    spool_root: Path | None,
    say: Callable[[str], None],
) -> int:
    """Serves until SIGTERM (returns 0) or Ctrl-C (130). ValueError for what keeps it from starting.

    `open_model` is called in another process, so it must be a function that can be pickled.
    """
    keep_little()
    _refuse_tls(where)
    listener = _bind(where)
    try:
        _allow_connections()
        spool = Spool(spool_root, limits.spool_bytes)
        try:
            return asyncio.run(_serve(open_model, where, access, limits, spool, listener, say))
        finally:
            spool.close()
    finally:
        listener.close()


async def _serve(
    open_model: Callable[[], Loaded],
    where: Where,
    access: Access,
    limits: Limits,
    spool: Spool,
    listener: socket.socket,
    say: Callable[[str], None],
) -> int:
    log, counters, ending = EventLog(), Counters(), _Ending()
    capture(log)
    loop = asyncio.get_running_loop()
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, INTERRUPTED)):
        loop.add_signal_handler(number, ending.ask, code)
    if where.certificate is not None:  # uvicorn leaves asyncio's minute to clients that say nothing
        loop.create_server = partial(loop.create_server, ssl_handshake_timeout=HANDSHAKE_S)  # type: ignore[method-assign]
    model = Supervisor(open_model, log, counters)
    try:
        loading = asyncio.create_task(model.start())
        stopped = asyncio.create_task(ending.asked.wait())
        await asyncio.wait([loading, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            loading.cancel()
            return ending.code
        stopped.cancel()
        loading.result()
        service = _service(access, limits, spool, log, counters, model)
        server = _uvicorn(service, where)
        await _answer(service, server, listener, where, ending, say)
        return ending.code
    finally:
        await model.stop()


def _service(
    access: Access, limits: Limits, spool: Spool, log: EventLog, counters: Counters, model: Supervisor
) -> Service:
    jobs = Jobs(model, spool, limits, log, counters)
    intake = Intake(spool, limits, counters)
    intake.channels, intake.file_channels = model.facts["channels"], model.facts["file_channels"]
    return Service(access, limits, spool, log, counters, model, jobs, intake, Sessions(spool, limits))


def _uvicorn(service: Service, where: Where) -> _Server:
    config = uvicorn.Config(
        make_app(service),
        http=PacedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # what a client says about its address is not believed
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=CLOSE_S,
        ssl_certfile=None if where.certificate is None else str(where.certificate),
        ssl_keyfile=None if where.key is None else str(where.key),
    )
    server = _Server(config)
    service.connections = server.server_state.connections
    return server


async def _answer(
    service: Service,
    server: _Server,
    listener: socket.socket,
    where: Where,
    ending: _Ending,
    say: Callable[[str], None],
) -> None:
    """Answers requests until it is asked to end; then ends jobs, results and connections, in that order."""
    service.jobs.start()
    answering = asyncio.create_task(server.serve(sockets=[listener]))
    sweeping = asyncio.create_task(_sweep(service))
    host, port = where.host.strip("[]"), listener.getsockname()[1]
    address = f"[{host}]" if ":" in host else host
    say(f"serving {service.model.facts['name']} on {'https' if where.certificate else 'http'}://{address}:{port}/")
    service.log("started", port=port)
    for warning in [*service.model.facts["warnings"], *([] if where.certificate or is_loopback(host) else [NO_TLS])]:
        say(f"warning: {warning}")
        service.log("warning", message=warning)
    try:
        asked = asyncio.create_task(ending.asked.wait())
        await asyncio.wait([answering, asked], return_when=asyncio.FIRST_COMPLETED)
        service.log("stopping", running=int(service.jobs.running is not None), waiting=len(service.jobs.waiting))
        orderly = asyncio.create_task(_finish_jobs(service))
        hurry = asyncio.create_task(ending.at_once.wait())
        await asyncio.wait([orderly, hurry], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        server.force_exit = hurry.done()
        await answering
    finally:
        sweeping.cancel()
        service.jobs.stop()
        service.intake.close()
        service.log("stopped")


async def _finish_jobs(service: Service) -> None:
    """Lets the running job finish, and clients that wait for a result fetch it."""
    busy = service.jobs.running is not None or bool(service.jobs.waiting)
    await service.jobs.close()
    loop = asyncio.get_running_loop()
    until = loop.time() + FETCH_S
    while busy and loop.time() < until and any(job.state == "done" for job in service.jobs.jobs.values()):
        await asyncio.sleep(0.05)


async def _sweep(service: Service) -> None:
    """Removes what is too old even while nobody asks, and gives freed memory back."""
    while True:
        await asyncio.sleep(SWEEP_S)
        service.jobs.forget_old()
        service.sessions.forget_old()
        return_freed_memory()


def _bind(where: Where) -> socket.socket:
    """A listening socket, before the model is loaded, so that a port in use is told at once."""
    host = where.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError):
        raise ValueError(f"--host {where.host}: no such address; name one of this machine's") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise ValueError(f"--port {where.port}: {host} cannot be listened on ({error.strerror}); choose another "
                         "--port or --host") from None  # fmt: skip
    return listener


def _refuse_tls(where: Where) -> None:
    """ValueError for certificates that cannot be used."""
    if (where.certificate is None) != (where.key is None):
        raise ValueError("--tls-cert and --tls-key: give both or none")
    if where.certificate is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(where.certificate, where.key)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"--tls-cert {where.certificate}: cannot be used ({error.strerror or error}); give PEM "
                             "files of a certificate and its key") from None  # fmt: skip


def _allow_connections() -> None:
    """As many open files as connections may need, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS * 2 + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
