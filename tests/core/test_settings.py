"""Configuration: what is wrong stops the start with one sentence that names the variable."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.core.errors import StartupError
from app.core.settings import REPOSITORY, Settings, load_settings, refuse_weak_secret

STRONG = "k9J2mQ7xW4vB8nR5tY1uP6sD3fG0hL-zC"
PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://app:s3cretive@db/app",
    "API_TOKEN": STRONG,
    "JWT_SECRET": STRONG[::-1],
}


@pytest.fixture(autouse=True)
def dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without our variables, and a `.env` of the test's own."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    return tmp_path / ".env"


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    with pytest.raises(StartupError) as caught:
        load(monkeypatch, **variables)
    assert caught.value.__suppress_context__
    return str(caught.value)


def revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def test_everything_has_a_default() -> None:
    settings = load_settings()
    assert settings.model_dump() == {
        "app_env": "development",
        "database_url": None,
        "database_listen_url": None,
        "data_dir": REPOSITORY / ".data",
        "api_token": None,
        "jwt_secret": None,
        "jwt_secret_previous": None,
        "mvp_email": "mvp@localhost",
        "registration": "invite",
        "access_token_minutes": 15,
        "refresh_token_days": 30,
        "session_idle_days": 14,
        "activity_retention_days": None,
        "migrate_on_start": True,
        "backup_before_migration": "auto",
        "cors_origins": [],
        "trusted_proxies": [],
        "log_format": None,
    }
    assert not settings.production
    assert not settings.json_logs
    assert settings.data.path == REPOSITORY / ".data"


def test_the_repository_is_where_it_says() -> None:
    assert (REPOSITORY / "backend" / "app" / "core" / "settings.py").exists()


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load(
        monkeypatch,
        APP_ENV="production",
        DATABASE_URL="postgres://app@db/app",
        DATA_DIR=str(tmp_path),
        API_TOKEN=STRONG,
        JWT_SECRET=STRONG[::-1],
        JWT_SECRET_PREVIOUS=STRONG.swapcase(),
        MVP_EMAIL="Owner@Example.com",
        REGISTRATION="open",
        ACCESS_TOKEN_MINUTES="5",
        REFRESH_TOKEN_DAYS="7",
        SESSION_IDLE_DAYS="3",
        MIGRATE_ON_START="false",
        BACKUP_BEFORE_MIGRATION="always",
        CORS_ORIGINS="https://app.test, http://localhost:3000",
        TRUSTED_PROXIES="10.0.0.0/8,192.0.2.1 , 2001:db8::/32",
        LOG_FORMAT="console",
    )
    assert revealed(settings.database_url) == "postgresql+psycopg2://app@db/app"
    assert revealed(settings.api_token) == STRONG
    assert revealed(settings.jwt_secret) == STRONG[::-1]
    assert revealed(settings.jwt_secret_previous) == STRONG.swapcase()
    assert settings.data_dir == tmp_path
    assert settings.mvp_email == "Owner@Example.com"
    assert (settings.registration, settings.backup_before_migration) == ("open", "always")
    times = settings.access_token_minutes, settings.refresh_token_days, settings.session_idle_days
    assert times == (5, 7, 3)
    assert not settings.migrate_on_start
    assert settings.cors_origins == ["https://app.test", "http://localhost:3000"]
    assert settings.proxy_networks == [
        ip_network("10.0.0.0/8"),
        ip_network("192.0.2.1/32"),
        ip_network("2001:db8::/32"),
    ]
    assert settings.production
    assert not settings.json_logs


def test_another_way_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, DATABASE_URL="postgres://pooler/app", DATABASE_LISTEN_URL="postgres://server/app")
    assert revealed(settings.database_listen_url) == "postgresql+psycopg2://server/app"


def test_no_way_to_listen_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartupError, match="DATABASE_LISTEN_URL is another way to the database at DATABASE_URL"):
        load(monkeypatch, DATABASE_LISTEN_URL="postgres://server/app")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_spelling_of_postgresql_names_the_driver(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    settings = load(monkeypatch, DATABASE_URL=f"{scheme}://u:p%40@[::1]:5433/name?sslmode=require")
    assert revealed(settings.database_url) == "postgresql+psycopg2://u:p%40@[::1]:5433/name?sslmode=require"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APP_ENV", "staging"),
        ("DATABASE_URL", "mysql://root:hunter2@db/app"),
        ("DATABASE_URL", "hunter2"),
        ("DATABASE_LISTEN_URL", "mysql://root:hunter2@db/app"),
        ("API_TOKEN", "hunter2 hunter2"),
        ("API_TOKEN", "hünter2"),
        ("API_TOKEN", "hunter2" * 100),
        ("MVP_EMAIL", "nobody"),
        ("MVP_EMAIL", "a b@localhost"),
        ("MVP_EMAIL", "a\x7f@localhost"),
        ("MVP_EMAIL", "a@" + "b" * 300),
        ("REGISTRATION", "maybe"),
        ("ACCESS_TOKEN_MINUTES", "0"),
        ("ACCESS_TOKEN_MINUTES", "1441"),
        ("ACCESS_TOKEN_MINUTES", "soon"),
        ("REFRESH_TOKEN_DAYS", "0"),
        ("REFRESH_TOKEN_DAYS", "366"),
        ("SESSION_IDLE_DAYS", "-1"),
        ("SESSION_IDLE_DAYS", "1.5"),
        ("ACTIVITY_RETENTION_DAYS", "0"),
        ("MIGRATE_ON_START", "perhaps"),
        ("BACKUP_BEFORE_MIGRATION", "sometimes"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "app.test"),
        ("CORS_ORIGINS", "https://app.test/"),
        ("CORS_ORIGINS", "https://*.test"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "proxy.local"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    sentence = refusal(monkeypatch, **{variable: value})
    assert sentence.startswith(f"{variable} ")
    assert "\n" not in sentence
    assert "hunter2" not in sentence
    assert "hünter2" not in sentence


@pytest.mark.parametrize("variable", ["API_TOKEN", "JWT_SECRET", "JWT_SECRET_PREVIOUS"])
@pytest.mark.parametrize(
    "weak",
    [
        "Tr0ub4dor",
        "k9J2mQ7xW4vB8nR5tY1uP6sD3fG0hL-",
        "changeme-changeme-changeme-changeme",
        "please-change-this-k9J2mQ7xW4vB8nR5tY1u",
        "your-jwt-secret-goes-in-this-place",
        "put-a-long-and-random-secret-here",
        "replace-with-openssl-rand-hex-32-now",
        "a-very-insecure-development-value-ok",
        "ababababababababababababababababab",
        "12345678901234567890123456789012345",
    ],
)
def test_production_refuses_secrets_one_could_guess(monkeypatch: pytest.MonkeyPatch, variable: str, weak: str) -> None:
    sentence = refusal(monkeypatch, **PRODUCTION | {variable: weak})
    assert sentence.startswith(f"{variable} ")
    assert "openssl rand -hex 32" in sentence
    assert weak not in sentence
    assert STRONG not in sentence


@pytest.mark.parametrize("variable", ["DATABASE_URL", "JWT_SECRET"])
def test_production_demands(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    present = {name: value for name, value in PRODUCTION.items() if name != variable}
    assert refusal(monkeypatch, **present).startswith(f"{variable} must be set when APP_ENV is production")


def test_an_api_token_is_no_longer_demanded_once_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, **{name: PRODUCTION[name] for name in PRODUCTION if name != "API_TOKEN"})
    assert settings.api_token is None


def test_production_takes_what_is_strong(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, **PRODUCTION)
    assert settings.production
    assert settings.json_logs


def test_development_takes_a_secret_of_any_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    assert revealed(load(monkeypatch, API_TOKEN="dev").api_token) == "dev"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, **PRODUCTION)
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert STRONG not in shown
        assert STRONG[::-1] not in shown
        assert "s3cretive" not in shown


def test_an_empty_variable_is_one_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, API_TOKEN="", DATABASE_URL="", CORS_ORIGINS="", MVP_EMAIL="")
    assert (settings.api_token, settings.database_url, settings.cors_origins) == (None, None, [])
    assert settings.mvp_email == "mvp@localhost"


def test_variables_of_others_are_no_concern(monkeypatch: pytest.MonkeyPatch, dotenv: Path) -> None:
    dotenv.write_text("POSTGRES_PASSWORD=x\nSOMETHING_ELSE=y\n")
    load_settings()


def test_a_dotenv_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, dotenv: Path) -> None:
    dotenv.write_text('# ours\nREGISTRATION=closed\nMVP_EMAIL="file@localhost"\n')
    settings = load(monkeypatch, MVP_EMAIL="environment@localhost")
    assert (settings.registration, settings.mvp_email) == ("closed", "environment@localhost")


def test_a_bad_value_in_a_dotenv_is_named(dotenv: Path) -> None:
    dotenv.write_text("REGISTRATION=maybe\n")
    with pytest.raises(StartupError, match=r"^REGISTRATION .*\.env"):
        load_settings()


def test_a_dotenv_that_is_no_text_is_said(dotenv: Path) -> None:
    dotenv.write_bytes(b"API_TOKEN=\xff\xfe\n")
    with pytest.raises(StartupError, match=r"\.env cannot be read as UTF-8 text"):
        load_settings()


def test_the_dotenv_is_the_repositorys_wherever_one_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".env").write_text("REGISTRATION=closed\n")
    monkeypatch.chdir(elsewhere)
    assert load_settings().registration == "invite"


def test_the_data_folder_does_not_depend_on_where_one_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load(monkeypatch, DATA_DIR="here").data_dir == REPOSITORY / "here"
    assert load(monkeypatch, DATA_DIR="~/there").data_dir == Path("/home/somebody/there")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().registration = "open"  # type: ignore[misc]


def test_random_secrets_pass() -> None:
    refuse_weak_secret("9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a")
