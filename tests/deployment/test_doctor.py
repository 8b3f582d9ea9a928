"""The device check: what it finds on real sockets, and what it says of machines that do not fit."""

from __future__ import annotations

import base64
import datetime
import json
import os
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fedbal.cli import app
from fedbal.deployment import certificates, checks, keys, provision
from fedbal.deployment.address import parse
from fedbal.deployment.checks import MB, Check, Status
from fedbal.deployment.checks_server import Place, clock, server_checks
from fedbal.deployment.doctor import Subject, data_check, examine, key_check, scenario_check
from fedbal.deployment.trial import training
from fedbal.errors import UsageError


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200", "TERM": "dumb"})


class Coordinator(BaseHTTPRequestHandler):
    """Answers /health as a SuperLink does, with a clock that may be wrong."""

    ahead = 0.0
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.ahead)
        return format_datetime(now, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def serving(
    folder: Path | None, *, ahead: float = 0.0, status: int = 200, host: str = "127.0.0.1"
) -> Iterator[int]:
    """Run a coordinator on a free port of the loopback, with TLS if a folder is given."""
    handler = type("Handler", (Coordinator,), {"ahead": ahead, "status": status})
    with Quiet((host, 0), handler) as server:
        if folder is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "server.pem", folder / "server.key")
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    provision.init(folder, ["coordinator.local"])
    provision.add_client(folder, "site-1")
    return folder


def resigned(
    secrets: Path, folder: Path, *, age: int, days: int, hosts: Sequence[str] = ("localhost",)
) -> Path:
    """Give a server a certificate of the same authority that was made some days ago."""
    folder.mkdir()
    made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=age)
    authority = provision.read_certificate(secrets / "ca.crt", secrets)
    key = provision._private(secrets / "ca.key", authority, secrets)
    own = certificates.new_key()
    server = certificates.new_server(own.public_key(), authority, key, hosts, made, days)
    (folder / "server.pem").write_bytes(certificates.certificate_bytes(server))
    (folder / "server.key").write_bytes(certificates.key_bytes(own))
    return folder


def look(port: int, ca: Path | None, host: str = "127.0.0.1") -> dict[str, Check]:
    return {check.name: check for check in server_checks(Place(host, port, ca))}


def statuses(found: dict[str, Check]) -> list[str]:
    return [f"{name} {check.status}" for name, check in found.items()]


def test_a_good_coordinator(secrets: Path) -> None:
    with serving(secrets) as port:
        found = look(port, secrets / "ca.crt", "localhost")
    assert statuses(found) == ["reach ok", "tls ok", "answer ok", "clock ok"]
    assert "trusted, until" in found["tls"].found
    assert "(364 days)" in found["tls"].found


def test_an_expired_certificate(secrets: Path, tmp_path: Path) -> None:
    with serving(resigned(secrets, tmp_path / "old", age=40, days=30)) as port:
        found = look(port, secrets / "ca.crt")
    assert statuses(found) == ["reach ok", "tls fail", "answer skip", "clock skip"]
    assert "expired" in found["tls"].found
    assert "fedbal provision renew" in found["tls"].fix


def test_a_certificate_that_is_not_valid_yet(secrets: Path, tmp_path: Path) -> None:
    with serving(resigned(secrets, tmp_path / "new", age=-10, days=30)) as port:
        found = look(port, secrets / "ca.crt")
    assert found["tls"].status is Status.fail
    assert "the clock here is behind" in found["tls"].fix


def test_a_certificate_that_ends_soon(secrets: Path, tmp_path: Path) -> None:
    with serving(resigned(secrets, tmp_path / "soon", age=0, days=10)) as port:
        found = look(port, secrets / "ca.crt")
    assert statuses(found) == ["reach ok", "tls warn", "answer ok", "clock ok"]


def test_another_authority(secrets: Path, tmp_path: Path) -> None:
    provision.init(tmp_path / "other", ["coordinator.local"])
    with serving(secrets) as port:
        found = look(port, tmp_path / "other" / "ca.crt")
    assert found["tls"].status is Status.fail
    assert "take ca.crt from this site's bundle" in found["tls"].fix


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux listens on all of 127.0.0.0/8")
def test_another_name(secrets: Path) -> None:
    with serving(secrets, host="127.0.0.2") as port:
        found = look(port, secrets / "ca.crt", "127.0.0.2")
    assert statuses(found) == ["reach ok", "tls fail", "answer skip", "clock skip"]
    assert "fedbal provision renew DIR --host 127.0.0.2" in found["tls"].fix


def test_a_coordinator_without_tls(secrets: Path) -> None:
    with serving(None) as port:
        asked, plain = look(port, secrets / "ca.crt"), look(port, None)
    assert statuses(asked) == ["reach ok", "tls fail", "answer skip", "clock skip"]
    assert "no TLS on this port" in asked["tls"].found
    assert statuses(plain) == ["reach ok", "tls warn", "answer ok", "clock ok"]


def test_tls_where_none_was_asked_for(secrets: Path) -> None:
    with serving(secrets) as port:
        found = look(port, None)
    assert statuses(found) == ["reach ok", "tls warn", "answer fail", "clock skip"]
    assert "--ca is missing" in found["answer"].fix


def test_something_else_on_the_port(secrets: Path) -> None:
    with serving(secrets, status=503) as port:
        found = look(port, secrets / "ca.crt")
    assert found["answer"].status is Status.fail
    assert "HTTP 503" in found["answer"].found


def test_nothing_on_the_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = look(free.getsockname()[1], None)
    assert statuses(found) == ["reach fail", "tls skip", "answer skip", "clock skip"]
    assert "connection refused" in found["reach"].found


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("hello")
    with serving(None) as port:
        for ca in (tmp_path / "ca.crt", tmp_path / "missing.crt"):
            found = look(port, ca)
            assert found["tls"].status is Status.fail
            assert "holds no certificate" in found["tls"].found


@pytest.mark.parametrize(
    ("server_ahead", "status", "words"),
    [
        (-20.0, Status.fail, "ahead of the coordinator"),
        (100.0, Status.warn, "behind the coordinator"),
        (400.0, Status.fail, "behind the coordinator"),
    ],
)
def test_clocks_that_differ(secrets: Path, server_ahead: float, status: Status, words: str) -> None:
    with serving(secrets, ahead=server_ahead) as port:
        found = look(port, secrets / "ca.crt")["clock"]
    assert found.status is status
    assert words in found.found
    assert "timedatectl" in found.fix


def test_a_difference_within_what_was_measured_is_none() -> None:
    assert clock(2.4, 0.5).status is Status.ok
    assert clock(2.6, 0.5).status is Status.warn
    assert clock(5.6, 0.5).status is Status.fail
    assert clock(-305.4, 0.5).status is Status.warn
    assert clock(-305.6, 0.5).status is Status.fail


def test_limits_of_clocks_are_flowers() -> None:
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

    from fedbal.deployment.checks_server import AHEAD, BEHIND

    assert (AHEAD, BEHIND) == (SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE)


def test_a_good_key(secrets: Path) -> None:
    found = key_check(secrets / "clients" / "site-1" / "site-1.key")
    assert found.status is Status.ok
    assert found.found.startswith("secp384r1, SHA256:")


def locked_key() -> bytes:
    """Make what an OpenSSH key with a passphrase looks like; to write a real one takes a package more."""

    def field(data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + data

    options = field(bytes(16)) + struct.pack(">I", 16)
    public = base64.b64decode(keys.new_pair("a")[1].split()[1])
    parts = [field(b"aes256-ctr"), field(b"bcrypt"), field(options), struct.pack(">I", 1), field(public)]
    body = base64.encodebytes(b"openssh-key-v1\0" + b"".join(parts) + field(bytes(64)))
    return b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + body + b"-----END OPENSSH PRIVATE KEY-----\n"


def test_keys_that_do_not_do(secrets: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    openssh = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH)
    plain = serialization.NoEncryption()
    files = {
        "missing": None,
        "public": (secrets / "clients" / "site-1" / "site-1.pub").read_bytes(),
        "locked": locked_key(),
        "pem": (secrets / "server.key").read_bytes(),
        "edwards": ed25519.Ed25519PrivateKey.generate().private_bytes(*openssh, plain),
    }
    words = ("there is no key", "the public key", "passphrase", "no private key in OpenSSH", "another kind")
    for (name, data), expected in zip(files.items(), words, strict=True):
        if data is not None:
            (tmp_path / name).write_bytes(data)
            (tmp_path / name).chmod(0o600)
        found = key_check(tmp_path / name)
        assert found.status is Status.fail, name
        assert expected in found.found, name


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(keys.new_pair("a")[0])
    (tmp_path / "key").chmod(0o640)
    found = key_check(tmp_path / "key")
    assert found.status is Status.fail
    assert found.fix == f"chmod 600 {tmp_path / 'key'}"


@pytest.mark.parametrize(
    ("machine", "pointer", "status"),
    [("x86_64", 64, "ok"), ("aarch64", 64, "ok"), ("aarch64", 32, "fail"), ("armv7l", 32, "fail")],
)
def test_architectures(machine: str, pointer: int, status: str) -> None:
    found = checks.architecture(machine, pointer)
    assert found.status == status
    assert ("64-bit system" in found.fix) == (status == "fail")


@pytest.mark.parametrize(
    ("version", "status"),
    [(("glibc", "2.36"), "ok"), (("glibc", "2.28"), "ok"), (("glibc", "2.27"), "fail"), (("", ""), "fail")],
)
def test_libraries(version: tuple[str, str], status: str) -> None:
    assert checks.libc(version).status == status


def test_a_cuda_build_on_a_board_without_a_gpu_names_the_last_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "GPUS", ())
    found = checks.torch_build("aarch64", "2.13.0", cuda=True)
    assert found.status is Status.warn
    assert "pip install torch==2.10.0" in found.fix
    assert "whl/cpu" in checks.torch_build("x86_64", "2.13.0", cuda=True).fix
    assert checks.torch_build("aarch64", "2.10.0", cuda=False).status is Status.ok


def test_a_cuda_build_beside_a_gpu_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "GPUS", ("null",))
    assert checks.torch_build("aarch64", "2.13.0", cuda=True).status is Status.ok


def test_the_installed_torch_is_read_as_it_says_itself() -> None:
    import torch

    found = checks.torch_build().found
    assert str(torch.__version__) in found
    assert ("CUDA build" in found) == (torch.version.cuda is not None)


@pytest.mark.parametrize(
    ("megabytes", "status"), [(699, "fail"), (701, "warn"), (1499, "warn"), (1501, "ok")]
)
def test_memory(megabytes: int, status: str) -> None:
    assert checks.memory(megabytes * MB).status == status


def test_memory_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("100\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert checks._left_in_group(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert checks._left_in_group(tmp_path) == 900
    assert checks._left_in_group(tmp_path / "none") is None


def test_disk(tmp_path: Path) -> None:
    new = tmp_path / "not" / "yet"
    assert [checks.disk(new, size * MB).status for size in (299, 301, 2001)] == ["fail", "warn", "ok"]
    assert f"free in {tmp_path}" in checks.disk(new).found


def test_missing_commands(tmp_path: Path) -> None:
    assert checks.helpers(str(tmp_path)).status is Status.fail
    assert checks.helpers().status is Status.ok


def test_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,label\n1,a\n2,b\n")
    (tmp_path / "b.txt").write_text("x")
    assert data_check(tmp_path / "a.csv").found.endswith("a.csv: 2 rows")
    assert data_check(tmp_path / "b.txt").status is Status.fail
    assert data_check(tmp_path / "c.csv").status is Status.fail


def test_data_as_a_scenario_reads_them(tmp_path: Path) -> None:
    rows = "1,a\n2,b\n" * 20
    (tmp_path / "good.csv").write_text(f"x,label\n{rows}")
    (tmp_path / "other.csv").write_text(f"y,class\n{rows}")
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nrounds: 1\nmodel: logistic\nstrategy: fedavg\n"
        "data: {dataset: table, path: not-here.csv, label: label, partition: {name: iid, clients: 2}}\n"
    )
    found = data_check(tmp_path / "good.csv", str(tmp_path / "mine.yaml"))
    assert found.found.endswith("good.csv: 40 samples of a, b, as mine reads them")
    missing = data_check(tmp_path / "other.csv", str(tmp_path / "mine.yaml"))
    assert missing.status is Status.fail
    assert "label" in missing.found


def test_data_for_a_scenario_that_needs_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,label\n1,a\n2,b\n")
    found = data_check(tmp_path / "a.csv", "quickstart")
    assert found.status is Status.fail
    assert "every site has" in found.found


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_data_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "a.csv").chmod(0o000)
    assert "cannot be read" in data_check(tmp_path / "a.csv").found


def test_scenarios() -> None:
    assert scenario_check("quickstart").status is Status.ok
    assert "did you mean quickstart?" in scenario_check("quickstrat").found


def test_a_little_training_in_another_process() -> None:
    found = training()
    assert found.status is Status.ok, found
    assert "one epoch of 100 rows in " in found.found


@pytest.mark.parametrize(
    ("code", "found", "fix"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL", "another processor"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL", "memory"),
        ("raise ImportError('libgomp.so.1: cannot open')", "ImportError: libgomp.so.1: cannot open", "torch"),
    ],
)
def test_training_that_ends_badly(code: str, found: str, fix: str) -> None:
    check = training([sys.executable, "-c", code])
    assert check.status is Status.fail
    assert found in check.found
    assert fix in check.fix


def test_training_that_does_not_end() -> None:
    check = training([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.2)
    assert check.status is Status.fail
    assert "not done within" in check.found


def test_the_command_without_a_server() -> None:
    done = call("doctor", "--no-train")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("fit")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:4]] == ["python", "architecture", "libc"]


def test_the_command_with_a_failure_exits_with_1_and_says_the_remedy(secrets: Path) -> None:
    key = secrets / "clients" / "site-1" / "site-1.pub"
    done = call("doctor", "--no-train", "--key", key)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "not fit yet: key"
    assert "key: take the key from this site's bundle" in done.stderr


def test_the_command_as_json(secrets: Path) -> None:
    with serving(secrets) as port:
        options = ("--server", f"localhost:{port}", "--ca", secrets / "ca.crt")
        done = call("doctor", "--no-train", "--json", *options)
    found = json.loads(done.stdout)
    assert found["fit"] is True
    assert [check["name"] for check in found["checks"][-4:]] == ["reach", "tls", "answer", "clock"]


@pytest.mark.parametrize(
    "arguments", [["--server", "nowhere"], ["--ca", "ca.crt"], ["--server", "https://a:1"]]
)
def test_the_command_used_wrongly_exits_with_2(arguments: list[str]) -> None:
    done = call("doctor", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""


def test_everything_is_looked_at(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,label\n1,a\n2,b\n")
    key = secrets / "clients" / "site-1" / "site-1.key"
    subject = Subject("localhost:1", secrets / "ca.crt", key, tmp_path / "a.csv", "quickstrat", train=False)
    names = [check.name for check in examine(subject)]
    machine = ["python", "architecture", "libc", "versions", "commands", "torch", "memory", "disk"]
    assert names == [*machine, "key", "scenario", "data", "reach", "tls", "answer", "clock"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.local:8000", ("a.local", 8000)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_addresses(text: str, parts: tuple[str, int]) -> None:
    assert parse(text) == parts


@pytest.mark.parametrize(
    "text", ["a", "a:", ":80", "a:0", "a:65536", "::1:80", "http://a:80", "a:80/x", "a b:80"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT is needed"):
        parse(text)
