"""Configuration, read once at the start from the environment or from `.env` at the repository's top."""

import ipaddress
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from app.core.data_dir import DataDir
from app.core.errors import StartupError

REPOSITORY = Path(__file__).resolve().parents[3]
MINIMUM_SECRET_LENGTH = 32

B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)
"""What can be sent as a bearer token (RFC 6750 section 2.1)."""

_DATABASE_SCHEME = re.compile(r"^(?:postgres|postgresql|postgresql\+psycopg2)://")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_PLACEHOLDER = re.compile(
    r"change[-_ ]?(?:me|this)|place[-_ ]?holder|example|password|insecure|default|dummy|sample"
    r"|your[-_ ]|[-_ ]here$|<.*>|replace|secret[-_ ]?key|x{8}|12345678|abcdefgh",
    re.IGNORECASE,
)
_LISTS = ("cors_origins", "trusted_proxies")
_SECRETS = ("api_token", "jwt_secret", "jwt_secret_previous")

CommaSeparated = Annotated[list[str], NoDecode]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Settings(BaseSettings):
    """Every variable the service knows; each field's environment variable is its name in capitals."""

    model_config = SettingsConfigDict(env_file=REPOSITORY / ".env", env_ignore_empty=True, extra="ignore", frozen=True)

    app_env: Literal["development", "production"] = "development"
    database_url: SecretStr | None = None
    database_listen_url: SecretStr | None = None
    data_dir: Path = REPOSITORY / ".data"
    api_token: SecretStr | None = None
    jwt_secret: SecretStr | None = None
    jwt_secret_previous: SecretStr | None = None
    mvp_email: str = Field("mvp@localhost", max_length=255)
    registration: Literal["invite", "open", "closed"] = "invite"
    access_token_minutes: int = Field(15, ge=1, le=24 * 60)
    refresh_token_days: int = Field(30, ge=1, le=365)
    session_idle_days: int = Field(14, ge=1, le=365)
    activity_retention_days: int | None = Field(None, ge=1, le=36_500)
    migrate_on_start: bool = True
    backup_before_migration: Literal["auto", "always", "never"] = "auto"
    cors_origins: CommaSeparated = []
    trusted_proxies: CommaSeparated = []
    log_format: Literal["console", "json"] | None = None

    @field_validator(*_LISTS, mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("database_url", "database_listen_url")
    @classmethod
    def _name_the_driver(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        url, found = _DATABASE_SCHEME.subn("postgresql+psycopg2://", value.get_secret_value())
        if not found:
            raise ValueError("must be a PostgreSQL address such as postgresql://user:password@host:5432/name")
        return SecretStr(url)

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        """The commands are given in several folders: what is relative is so to the repository's top."""
        return REPOSITORY / value.expanduser()

    @field_validator("api_token")
    @classmethod
    def _can_travel_as_a_bearer_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not (B64TOKEN.fullmatch(value.get_secret_value()) and len(value) <= 512):
            raise ValueError("may hold up to 512 of the characters A-Z a-z 0-9 - . _ ~ + / only (RFC 6750)")
        return value

    @field_validator("mvp_email")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not _EMAIL.fullmatch(value) or not value.isprintable():
            raise ValueError("must be an e-mail address such as mvp@localhost")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError(f"{origin!r} is no origin such as https://app.test (scheme and host, no path)")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator(*_SECRETS)
    @classmethod
    def _strong_in_production(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("app_env") == "production":
            refuse_weak_secret(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _listens_to_its_database(self) -> "Settings":
        if self.database_listen_url is not None and self.database_url is None:
            raise ValueError("DATABASE_LISTEN_URL is another way to the database at DATABASE_URL, which is not set")
        return self

    @model_validator(mode="after")
    def _complete_in_production(self) -> "Settings":
        if self.production:
            for name in ("database_url", "jwt_secret"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name.upper()} must be set when APP_ENV is production")
        return self

    @property
    def production(self) -> bool:
        return self.app_env == "production"

    @property
    def json_logs(self) -> bool:
        return (self.log_format or ("json" if self.production else "console")) == "json"

    @property
    def data(self) -> DataDir:
        return DataDir(self.data_dir)

    @cached_property
    def proxy_networks(self) -> list[Network]:
        return [ipaddress.ip_network(network) for network in self.trusted_proxies]


def refuse_weak_secret(value: str) -> None:
    """Raise ValueError, which does not hold the value, for a secret that somebody could guess."""
    if len(value) < MINIMUM_SECRET_LENGTH:
        raise ValueError(f"must have at least {MINIMUM_SECRET_LENGTH} characters: run `openssl rand -hex 32`")
    if _PLACEHOLDER.search(value) or len(set(value)) < 8:
        raise ValueError("looks like a placeholder: run `openssl rand -hex 32` and use what it prints")


def load_settings() -> Settings:
    """Read the configuration.

    Raises:
        StartupError: a value is bad; names the first such variable, never a secret's value.
    """
    try:
        return Settings()
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        raise StartupError(f"{REPOSITORY / '.env'} cannot be read as UTF-8 text ({type(error).__name__}).") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        variable = str(first["loc"][0]).upper() if first["loc"] else ""
        reason = first["msg"].removeprefix("Value error, ")
        raise StartupError(
            f"{variable} {reason}".strip() + f" (in the environment or in {REPOSITORY / '.env'})."
        ) from None
