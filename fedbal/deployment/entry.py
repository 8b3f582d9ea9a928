"""The files of the Flower app of a deployed run that are the same in every run: two entry modules.

They are all the code that travels; a site and a coordinator compare them with their own copy before they run it.
"""

from __future__ import annotations

from fedbal import __version__

PACKAGE = "fedbal_run"
"""Folder of the entry modules; its name hides none of the installed packages."""
SCENARIO = "scenario.yaml"
JOB = "job"
"""Key of the run-config: which job of its coordinator the run is."""

CLIENT = '''"""Hands messages to the site's resident worker."""

from fedbal.deployment.hand_over import HandOver

app = HandOver(__file__)
'''
SERVER = '''"""Runs the rounds."""

from flwr.serverapp import ServerApp

from fedbal.deployment.coordinator import coordinate

app = ServerApp()
app.main()(coordinate)
'''
PROJECT = f"""[project]
name = "fedbal-run"
version = "{__version__}"
description = "A scenario of fedbal on real devices."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fedbal"

[tool.flwr.app.components]
serverapp = "{PACKAGE}.server:app"
clientapp = "{PACKAGE}.client:app"

[tool.flwr.app.config]
{JOB} = ""
"""
MODULES = {
    f"{PACKAGE}/__init__.py": '"""A run of fedbal."""\n',
    f"{PACKAGE}/client.py": CLIENT,
    f"{PACKAGE}/server.py": SERVER,
}
"""Every module of the app, by its place in it."""
