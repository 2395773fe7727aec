"""The files that the how-tos show can be used as they are: units, configurations, containers."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import click
import pytest
import yaml
from patience import PATIENCE, until
from ZEO.runzeo import ZEOOptions
from zodburi import resolve_uri

from zodbjobs.cli.commands import cli
from zodbjobs.cli.database import SERVER_SECONDS, is_uri
from zodbjobs.cli.shutdown_pipes import STOP_SECONDS

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
FILES = HOW_TO / "files"
UNITS = sorted(FILES.glob("systemd/*"))
CONFIGURATIONS = sorted(FILES.glob("*/*.conf"))
COMPOSE = yaml.safe_load((FILES / "containers" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]

_BLOCK = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(FILES))


def accept(words: Sequence[str]) -> dict[str, Any]:
    """What the program makes of its options; raises, or exits, if it doesn't take them."""
    program, *rest = words
    assert (Path(sys.executable).parent / program).exists()
    if program == "runzeo":
        assert rest[0] == "-C"
        return {"configuration": Path(rest[1]).name}
    assert program == "zodbjobs"
    name, *rest = rest
    parent = click.Context(cli, **cli.context_settings)
    params = cli.commands[name].make_context(name, rest, parent).params
    assert is_uri(params["database"]) or params["database"].endswith(".fs")
    return params


def here(configuration: Path, folder: Path) -> Path:
    """A copy of the file in which the folders of a server are `folder`."""
    text = re.sub(r"/srv/portal|/data", str(folder), configuration.read_text())
    copy = folder / configuration.name
    copy.write_text(text)
    return copy


def test_all_are_shown_in_a_page() -> None:
    pages = [page.read_text(encoding="utf-8") for page in HOW_TO.glob("*.md")]
    blocks = {block for page in pages for block in _BLOCK.findall(page)}
    links = {link for page in pages for link in re.findall(r"\(files/([^)]*)\)", page)}
    files = [path for path in FILES.rglob("*") if path.is_file()]
    assert {name_of(path) for path in files} == links
    assert [name_of(path) for path in files if path.read_text() not in blocks] == []


# systemd


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_a_unit(path: Path) -> None:
    parsed = unit(path)
    assert set(parsed) == {"DEFAULT", "Unit", "Service", "Install"}
    service = parsed["Service"]
    program, *rest = shlex.split(service["ExecStart"])
    params = accept([Path(program).name, *rest])
    assert Path(program).is_absolute()
    assert program.startswith(service["WorkingDirectory"])
    assert "%" not in service["ExecStart"]  # systemd's own sign
    if "database" in params:
        assert int(service["TimeoutStopSec"]) > STOP_SECONDS
        assert service["Type"] == "notify"
        # A server that goes away is noticed so many seconds later, and a step may meet that twice.
        assert int(service["WatchdogSec"]) > 4 * SERVER_SECONDS
    assert service["Restart"] == "always"
    known = {p.name for p in UNITS}
    for key in ("After", "Wants"):
        for name in parsed["Unit"].get(key, "").split():
            assert name in known or name in ("network.target", "local-fs.target")


@pytest.mark.process
def test_what_systemd_says_of_the_units(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        return  # elsewhere than on Linux; the other tests have read the units
    for path in UNITS:
        # It looks for the program too.
        text = path.read_text().replace("/srv/portal/.venv/bin", str(Path(sys.executable).parent))
        (tmp_path / path.name).write_text(text)
    words = ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())]
    verified = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


# ZODB and ZEO


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=name_of)
def test_a_configuration(path: Path, tmp_path: Path) -> None:
    copy = here(path, tmp_path)
    (tmp_path / "tls").mkdir()
    with mock.patch.object(ssl, "create_default_context"):  # the certificates are yours
        if path.name == "zodb.conf":
            make_storage, arguments = resolve_uri(f"zconfig://{copy}")
            assert callable(make_storage)
            assert arguments["cache_size"] == 10_000
        else:
            options = ZEOOptions()
            options.realize(["-C", str(copy)])
            assert [opener.name for opener in options.storages] == ["1"]
            assert options.storages[0].config.blob_dir


def command(path: Path, folder: Path) -> list[str]:
    """What a unit starts, with the programs of this environment, in `folder`."""
    program, *rest = shlex.split(unit(path)["Service"]["ExecStart"])
    ours = Path(sys.executable).parent / Path(program).name
    return [str(ours), *(word.replace("/srv/portal", str(folder)) for word in rest)]


@pytest.mark.process
def test_a_server_and_workers_run_by_them(tmp_path: Path) -> None:
    server, client = (here(FILES / "zeo" / name, tmp_path) for name in ("zeo.conf", "zodb.conf"))
    zeo_words, worker_words = (
        command(FILES / "systemd" / name, tmp_path)
        for name in ("portal-zeo.service", "portal-worker.service")
    )
    assert str(server) in zeo_words
    assert f"zconfig://{client}" in worker_words
    log = tmp_path / "log"
    with (
        log.open("w") as out,
        subprocess.Popen(zeo_words, stderr=out, stdout=out) as zeo,
        subprocess.Popen(worker_words, stderr=out, stdout=out) as workers,
    ):
        try:
            until(lambda: log.read_text().count(" works with ") == 2 or workers.poll() is not None)
            workers.terminate()
            assert workers.wait(PATIENCE) == 0, log.read_text()
        finally:
            workers.kill()
            zeo.terminate()
    assert (tmp_path / "Data.fs").exists()


# Containers


def test_the_compose_file() -> None:
    assert set(COMPOSE) <= {"services", "volumes", "x-portal"}
    for service in SERVICES.values():
        assert service["image"] == "portal"
        assert (FILES / "containers" / service["build"] / "Dockerfile").exists()
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in COMPOSE["volumes"]
        assert all(isinstance(word, str) for word in service["command"])


def test_the_commands_of_the_containers() -> None:
    worker = SERVICES["worker"]
    params = accept(worker["command"])
    assert params["processes"] == 2
    assert params["database"] == worker["environment"]["PORTAL_DATABASE"]
    assert int(worker["stop_grace_period"].removesuffix("s")) > STOP_SECONDS
    configuration = FILES / "containers" / accept(SERVICES["zeo"]["command"])["configuration"]
    (port,) = re.findall(r"address 0\.0\.0\.0:(\d+)", configuration.read_text())
    assert params["database"].startswith(f"zeo://zeo:{port}?")
    (blobs,) = re.findall(r"blob-dir (.+)", configuration.read_text())
    assert f"blob_dir={blobs}&shared_blob_dir=1" in params["database"]
    assert "ports" not in SERVICES["zeo"]


def test_the_probe_of_the_containers() -> None:
    worker = SERVICES["worker"]
    probe, _, otherwise = worker["healthcheck"]["test"].partition(" || ")
    database = worker["environment"]["PORTAL_DATABASE"]
    params = accept(shlex.split(probe.replace("$$PORTAL_DATABASE", database)))
    assert (params["here"], params["min_workers"]) == (True, 2)
    assert otherwise == "exit 1"  # Docker knows no other status than 0 and 1
    assert worker["healthcheck"]["test"] in (HOW_TO / "observe.md").read_text()


def test_the_deployment() -> None:
    made = yaml.safe_load((FILES / "kubernetes" / "worker.yaml").read_text())
    pod = made["spec"]["template"]
    assert made["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > STOP_SECONDS
    (container,) = pod["spec"]["containers"]
    database = accept(container["command"])["database"]
    start = accept(container["startupProbe"]["exec"]["command"])
    assert (start["database"], start["here"]) == (database, True)
    shell, option, line = container["livenessProbe"]["exec"]["command"]
    assert (shell, option) == ("sh", "-c")
    probe, _, status = line.partition("; ")
    assert accept(shlex.split(probe))["here"]
    assert status == "[ $? -ne 1 ]"  # with 2, the database is away


def test_the_image() -> None:
    text = (FILES / "containers" / "Dockerfile").read_text()
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line]
    assert [step for step, _ in steps] == [
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "VOLUME",
    ]
    said = dict(steps)
    assert re.fullmatch(r"python:3\.1[123]-slim", said["FROM"])
    assert '"zodbjobs[cli]"' in said["RUN"]
    # The configuration is copied to where the server of the compose file looks for it.
    assert SERVICES["zeo"]["command"][-1] == f"{said['WORKDIR']}/zeo.conf"
    for service in SERVICES.values():
        assert service["volumes"] == [f"data:{said['VOLUME']}"]
