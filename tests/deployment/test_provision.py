"""Keys and certificates of a deployment: they verify, they are private, nothing is overwritten."""

from __future__ import annotations

import datetime
import io
import json
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
from click.testing import Result
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from flwr.supercore.primitives.asymmetric import uses_nist_ec_curve
from typer.testing import CliRunner

from fedbal.cli import app
from fedbal.deployment import certificates, keys, provision
from fedbal.deployment.inventory import inventory
from fedbal.errors import RunError, UsageError

HOSTS = ("coordinator.local", "192.168.1.10")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200", "TERM": "dumb"})


def refused(*arguments: str | Path) -> str:
    done = call(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    return done.stderr


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    provision.init(tmp_path / "secrets", HOSTS)
    return tmp_path / "secrets"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def verify(folder: Path, host: str, at: datetime.datetime | None = None) -> None:
    """Judge a server certificate as RFC 5280 and the rules of browsers do, apart from OpenSSL."""
    name = certificates.general_name(host)
    assert isinstance(name, x509.DNSName | x509.IPAddress)
    store = Store([x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())])
    verifier = PolicyBuilder().store(store)
    if at is not None:
        verifier = verifier.time(at)
    verifier.build_server_verifier(name).verify(
        x509.load_pem_x509_certificate((folder / "server.pem").read_bytes()), []
    )


@pytest.mark.parametrize("host", [*HOSTS, "localhost", "127.0.0.1", "::1"])
def test_the_chain_verifies_for_every_name(secrets: Path, host: str) -> None:
    verify(secrets, host)


@pytest.mark.parametrize("host", ["other.local", "192.168.1.11"])
def test_the_chain_does_not_verify_for_another_name(secrets: Path, host: str) -> None:
    with pytest.raises(VerificationError):
        verify(secrets, host)


def test_the_certificate_ends_after_its_days_and_holds_for_clocks_that_are_behind(secrets: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    for days, good in ((-0.9, True), (-1.1, False), (364.9, True), (365.1, False)):
        if good:
            verify(secrets, HOSTS[0], now + datetime.timedelta(days=days))
        else:
            with pytest.raises(VerificationError):
                verify(secrets, HOSTS[0], now + datetime.timedelta(days=days))


def test_secrets_are_the_owners_alone(secrets: Path) -> None:
    provision.add_client(secrets, "site-1")
    site = secrets / "clients" / "site-1"
    assert [mode(path) for path in (secrets, secrets / "clients", site)] == [0o700] * 3
    for path in (secrets / "ca.key", secrets / "server.key", site / "site-1.key", site / "site-1.tar"):
        assert mode(path) == 0o600, path
    for path in (secrets / "ca.crt", secrets / "server.pem", site / "site-1.pub"):
        assert mode(path) == 0o644, path


def test_nothing_is_overwritten(secrets: Path) -> None:
    provision.add_client(secrets, "site-1")
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    assert "nothing is overwritten" in refused("provision", "init", secrets, "--host", "other")
    assert "already" in refused("provision", "client", secrets, "site-1")
    assert {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()} == before


def test_an_empty_folder_is_taken_and_closed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    provision.init(tmp_path / "empty", ["a.local"])
    assert mode(tmp_path / "empty") == 0o700


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"No space left on device.*nothing was made"):
        provision.init(tmp_path / "secrets", HOSTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/etc", "..", ".", "", ".hidden", "-x", "a b", "ä", "x" * 64]
)
def test_names_that_are_no_names_are_refused(secrets: Path, name: str) -> None:
    with pytest.raises(UsageError, match="up to 63 letters, digits, - and _"):
        provision.add_client(secrets, name)
    assert list((secrets / "clients").iterdir()) == []


@pytest.mark.parametrize(
    "host", ["https://a", "a:8000", "*.local", "a b", "", "-a", "1.2.3.4.5", "ä.de", "a" * 254]
)
def test_hosts_that_are_no_hosts_are_refused(tmp_path: Path, host: str) -> None:
    assert "a host name" in refused("provision", "init", tmp_path / "new", "--host", host)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("days", ["0", "-1", "3651"])
def test_days_out_of_range_are_refused(tmp_path: Path, days: str) -> None:
    assert "between 1 and 3650" in refused(
        "provision", "init", tmp_path / "new", "--host", "a", "--days", days
    )


def test_a_host_is_needed(tmp_path: Path) -> None:
    assert "--host NAME" in refused("provision", "init", tmp_path / "new")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    for command in (["client", tmp_path, "site-1"], ["show", tmp_path], ["renew", tmp_path]):
        assert f"fedbal provision init {tmp_path} --host NAME" in refused("provision", *command)


def test_the_key_is_one_that_flower_takes_on_both_sides(secrets: Path) -> None:
    _, shown = provision.add_client(secrets, "site-1")
    site = secrets / "clients" / "site-1"
    private = serialization.load_ssh_private_key((site / "site-1.key").read_bytes(), None)
    public = serialization.load_ssh_public_key((site / "site-1.pub").read_bytes())
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert private.public_key() == public
    assert private.curve.name == "secp384r1"
    assert uses_nist_ec_curve(public)
    assert (site / "site-1.pub").read_text().split()[::2] == ["ecdsa-sha2-nistp384", "site-1"]
    assert keys.fingerprint(public) == shown


def test_fingerprint_is_the_one_of_openssh() -> None:
    # A key and what `ssh-keygen -l` says of it.
    line = (
        b"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBPKe+EsIRWXYGSJW5v69eGeGBIoqk7IK"
        b"stcJWv5kQJvE/tMi2UA8zoKwgtRV3njEEEthzby2ktY/WRfYqlW8ZKg="
    )
    key = serialization.load_ssh_public_key(line)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert keys.fingerprint(key) == "SHA256:o5G87Y3M6xYxH4tM12DfIs1tHpXkkGfBbQnxb2tPdlA"


def members(bundle: Path) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(bundle.read_bytes())) as archive:
        assert {entry.mode for entry in archive if entry.isfile()} == {0o600}
        assert {entry.mode for entry in archive if entry.isdir()} == {0o700}
        return {
            entry.name: content.read()
            for entry in archive
            if (content := archive.extractfile(entry)) is not None
        }


def test_the_bundle_is_complete_and_says_the_command(secrets: Path) -> None:
    bundle, _ = provision.add_client(secrets, "site-1")
    held = members(bundle)
    assert set(held) == {f"site-1/{name}" for name in ("README.txt", "site.env", "ca.crt", "site-1.key")}
    assert held["site-1/ca.crt"] == (secrets / "ca.crt").read_bytes()
    assert held["site-1/site-1.key"] == (bundle.parent / "site-1.key").read_bytes()
    command = (
        "fedbal client --server coordinator.local:8000 --ca ca.crt --key site-1.key --name site-1 --data "
    )
    assert command in held["site-1/README.txt"].decode()
    settings = dict(
        line.split("=", 1)
        for line in held["site-1/site.env"].decode().splitlines()
        if not line.startswith("#")
    )
    assert settings["FEDBAL_SERVER"] == "coordinator.local:8000"
    assert settings["FEDBAL_NAME"] == "site-1"


@pytest.mark.parametrize(
    ("host", "server", "named"),
    [
        ("2001:db8::1", None, "[2001:db8::1]:8000"),
        ("a.local", "b.local:8443", "b.local:8443"),
    ],
)
def test_the_bundle_names_the_coordinator(tmp_path: Path, host: str, server: str | None, named: str) -> None:
    provision.init(tmp_path / "secrets", [host])
    bundle, _ = provision.add_client(tmp_path / "secrets", "a", server)
    assert f"--server {named} " in members(bundle)["a/README.txt"].decode()


def test_a_wrong_address_is_refused(secrets: Path) -> None:
    assert "HOST:PORT" in refused("provision", "client", secrets, "a", "--server", "https://coordinator")


def test_a_site_may_keep_its_private_key(secrets: Path, tmp_path: Path) -> None:
    private, public = keys.new_pair("someone")
    (tmp_path / "own.pub").write_bytes(public)
    bundle, _ = provision.add_client(secrets, "site-1", public_key=tmp_path / "own.pub")
    assert {path.name for path in bundle.parent.iterdir()} == {"site-1.pub", "site-1.tar"}
    held = members(bundle)
    assert "site-1/site-1.key" not in held
    assert "is not in here" in held["site-1/README.txt"].decode()
    own = serialization.load_ssh_private_key(private, None)
    assert isinstance(own, ec.EllipticCurvePrivateKey)
    assert provision.clients_of(secrets)["site-1"] == own.public_key()


def test_two_sites_with_one_key_are_refused(secrets: Path) -> None:
    provision.add_client(secrets, "site-1")
    known = secrets / "clients" / "site-1" / "site-1.pub"
    assert "the key of client 'site-1'" in refused("provision", "client", secrets, "b", "--public-key", known)


def test_keys_of_other_kinds_are_refused(secrets: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    other = ed25519.Ed25519PrivateKey.generate().public_key()
    line = other.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    (tmp_path / "ed.pub").write_bytes(line)
    (tmp_path / "no.pub").write_text("hello")
    assert "another kind than ECDSA" in refused(
        "provision", "client", secrets, "b", "--public-key", tmp_path / "ed.pub"
    )
    assert "no public key" in refused(
        "provision", "client", secrets, "b", "--public-key", tmp_path / "no.pub"
    )
    assert "there is no key" in refused(
        "provision", "client", secrets, "b", "--public-key", tmp_path / "x.pub"
    )


def test_renewing_keeps_key_authority_and_names(secrets: Path) -> None:
    before = {
        name: (secrets / name).read_bytes() for name in ("ca.crt", "ca.key", "server.key", "server.pem")
    }
    done = call("provision", "renew", secrets, "--days", "700")
    assert done.exit_code == 0, done.output
    after = {name: (secrets / name).read_bytes() for name in before}
    assert {name for name in before if before[name] != after[name]} == {"server.pem"}
    assert mode(secrets / "server.pem") == 0o644
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=699)
    for host in (*HOSTS, "localhost"):
        verify(secrets, host, later)


def test_renewing_with_other_names(secrets: Path) -> None:
    provision.renew(secrets, hosts=["new.local"])
    verify(secrets, "new.local")
    with pytest.raises(VerificationError):
        verify(secrets, HOSTS[0])


def test_a_certificate_does_not_outlive_its_authority(secrets: Path) -> None:
    new = provision.renew(secrets, days=certificates.AUTHORITY_DAYS)
    authority = x509.load_pem_x509_certificate((secrets / "ca.crt").read_bytes())
    assert new.not_valid_after_utc == authority.not_valid_after_utc


def test_renewing_with_a_key_that_is_anothers(secrets: Path, tmp_path: Path) -> None:
    provision.init(tmp_path / "other", HOSTS)
    shutil.copy(tmp_path / "other" / "ca.key", secrets / "ca.key")
    assert "is not the key of the certificate" in refused("provision", "renew", secrets)


def test_show_lists_what_there_is(secrets: Path) -> None:
    provision.add_client(secrets, "site-2")
    provision.add_client(secrets, "site-1")
    done = call("provision", "show", secrets, "--json")
    items = json.loads(done.stdout)
    assert [(item["what"], item["name"]) for item in items[2:]] == [
        ("client", "site-1"),
        ("client", "site-2"),
    ]
    assert [item["days_left"] for item in items[:2]] == [3649, 364]
    assert items[1]["name"].startswith("coordinator.local, 192.168.1.10, ")
    assert {item["warning"] for item in items} == {""}
    plain = call("provision", "show", secrets)
    assert plain.stdout.splitlines()[3].startswith("client")
    assert plain.stderr == ""


def test_show_warns_of_what_ends_and_of_open_keys(secrets: Path) -> None:
    provision.add_client(secrets, "site-1")
    (secrets / "clients" / "site-1" / "site-1.key").chmod(0o644)
    now = datetime.datetime.now(datetime.UTC)
    soon = {item.what: item.warning for item in inventory(secrets, now + datetime.timedelta(days=340))}
    assert soon["authority"] == ""
    assert soon["server"] == f"expires soon: fedbal provision renew {secrets}"
    assert soon["client"].startswith("others can read it: chmod 600 ")
    over = inventory(secrets, now + datetime.timedelta(days=400))[1]
    assert over.days_left is not None
    assert over.days_left < 0
    assert over.warning.startswith("has expired")
