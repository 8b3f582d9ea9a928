"""What is carried to a site to start it: the authority's certificate, its key, how to begin."""

from __future__ import annotations

import io
import tarfile
import time

README = """\
{name}: a site of a federated deployment of fedbal
{rule}

{key_line}
  ca.crt        the certificate by which this site knows the coordinator; not secret
  site.env      the same settings for the systemd unit and the container

Once, on this machine (Python 3.11 or newer; fedbal {version}, the same as the coordinator's):

  pip install fedbal-{version}-py3-none-any.whl
  chmod 700 . && chmod 600 {key}

Is it fit, and does it reach the coordinator?

  fedbal doctor --server {server} --ca ca.crt --key {key} --data /path/to/data

Take part, until you stop it:

  fedbal client --server {server} --ca ca.crt --key {key} --name {name} --data /path/to/data

The site shows what it is asked to send and asks once whether it may. Nothing listens for the outside here: the site
opens connections to {server} and to nothing else.
"""
KEY_HERE = "  {key}{pad}this site's private key: whoever has it can take part as {name}"
KEY_AT_SITE = "  {key}{pad}is not in here: put the private key that this site made beside the other files"

ENVIRONMENT = """\
# Read by fedbal-client.service and by the container.
FEDBAL_SERVER={server}
FEDBAL_CA=/etc/fedbal/ca.crt
FEDBAL_KEY=/etc/fedbal/{key}
FEDBAL_NAME={name}
FEDBAL_DATA=/srv/fedbal/data
# More options of `fedbal client`, for example: --allow label-histograms=no
FEDBAL_OPTIONS=
"""


def bundle(name: str, server: str, authority: bytes, private: bytes | None) -> bytes:
    """Return the archive for a site: one folder ``NAME`` with everything in it.

    Parameters
    ----------
    name : str
        The site.
    server : str
        ``HOST:PORT`` of the coordinator.
    authority : bytes
        The authority's certificate, PEM.
    private : bytes, optional
        The site's private key; None if the site made it itself.

    Returns
    -------
    bytes
        A tar archive; folders 0700, files 0600, owned by nobody in particular.
    """
    from fedbal import __version__

    key = f"{name}.key"
    line = (KEY_AT_SITE if private is None else KEY_HERE).format(
        key=key, name=name, pad=" " * max(2, 14 - len(key))
    )
    title = f"{name}: a site of a federated deployment of fedbal"
    readme = README.format(
        name=name, server=server, key=key, key_line=line, rule="=" * len(title), version=__version__
    )
    files = {
        "README.txt": readme.encode(),
        "site.env": ENVIRONMENT.format(name=name, server=server, key=key).encode(),
        "ca.crt": authority,
    }
    if private is not None:
        files[key] = private
    written = int(time.time())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o700, written
        archive.addfile(folder)
        for file, data in files.items():
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, written
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
