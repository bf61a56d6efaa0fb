"""Snowflake, by ADBC: rows come as the Arrow batches that Snowflake keeps results in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflows.core.errors import ConfigError
from workflows.tables.warehouse.address import Address
from workflows.tables.warehouse.connection import Column, Rows, check_driver

__all__ = ["Snowflake", "connect", "remedy"]

# Parameter of the URL -> the environment variables that stand in for it, those of Snowflake's own tools.
VARIABLES = {
    "account": ["SNOWFLAKE_ACCOUNT"],
    "user": ["SNOWFLAKE_USER"],
    "password": ["SNOWFLAKE_PASSWORD"],
    "database": ["SNOWFLAKE_DATABASE"],
    "schema": ["SNOWFLAKE_SCHEMA"],
    "warehouse": ["SNOWFLAKE_WAREHOUSE"],
    "role": ["SNOWFLAKE_ROLE"],
    "authenticator": ["SNOWFLAKE_AUTHENTICATOR"],
    "token": ["SNOWFLAKE_TOKEN"],
    "private_key_file": ["SNOWFLAKE_PRIVATE_KEY_FILE", "SNOWFLAKE_PRIVATE_KEY_PATH"],
    "private_key_file_pwd": ["SNOWFLAKE_PRIVATE_KEY_FILE_PWD", "PRIVATE_KEY_PASSPHRASE"],
    "host": [],
    "port": [],
    "protocol": [],
    "region": [],
}
SECRETS = ("password", "token", "private_key_file", "private_key_file_pwd")
SQL, CLIENT = "adbc.snowflake.sql", "adbc.snowflake.sql.client_option"
OPTIONS = {
    "user": "username",
    "password": "password",
    "account": f"{SQL}.account",
    "database": f"{SQL}.db",
    "schema": f"{SQL}.schema",
    "warehouse": f"{SQL}.warehouse",
    "role": f"{SQL}.role",
    "region": f"{SQL}.region",
    "host": f"{SQL}.uri.host",
    "port": f"{SQL}.uri.port",
    "protocol": f"{SQL}.uri.protocol",
    "token": f"{CLIENT}.auth_token",
}
AUTHENTICATORS = {
    "snowflake": "auth_snowflake",
    "oauth": "auth_oauth",
    "externalbrowser": "auth_ext_browser",
    "snowflake_jwt": "auth_jwt",
    "username_password_mfa": "auth_mfa",
    "programmatic_access_token": "auth_pat",
}
ALWAYS = {
    f"{CLIENT}.use_high_precision": "true",  # NUMBER as a decimal, of which no digit is lost
    f"{CLIENT}.disable_telemetry": "true",
    f"{CLIENT}.login_timeout": "30s",
    f"{CLIENT}.client_timeout": "120s",  # of one round trip, not of a query
}
LOGIN = "correct the account, the user and the secret in data.source, or in SNOWFLAKE_ACCOUNT, _USER and _PASSWORD"
WORDS = {
    "does not exist": "correct the name, or give the role the right to read it",
    "not authorized": "give the role the right to read it",
    "insufficient privileges": "give the role the right to read it",
    "invalid identifier": "correct the column in the query",
    "not found in FROM": "correct the column in the query",
    "syntax error": "correct the query",
    "No active warehouse": "add ?warehouse=NAME to data.source",
    "assword": LOGIN,
    "is empty": LOGIN,
    "JWT": LOGIN,
    "uthenticat": LOGIN,
    "refused": "check account and host of data.source, and that Snowflake can be reached from here",
    "no such host": "correct the account in data.source",
    "imeout": "check account and host of data.source, and that Snowflake can be reached from here",
    "deadline": "check account and host of data.source, and that Snowflake can be reached from here",
    "EOF": "the connection was lost; run the same command again",
    "reset": "the connection was lost; run the same command again",
}


def connect(address: Address, environment: Mapping[str, str]) -> Snowflake:
    """Log in; what the URL leaves out comes from the variables of Snowflake's own tools.

    Raises:
        SetupError: the driver is not installed.
        ConfigError: a parameter is unknown, or the key file cannot be read.
    """
    check_driver("adbc_driver_snowflake", "adbc-driver-snowflake", "snowflake")
    from adbc_driver_snowflake import dbapi

    settings = _settings(address, environment)
    return Snowflake(dbapi.connect(db_kwargs=ALWAYS | _options(settings)))


class Snowflake:
    """A session; each query reads what there is when it starts."""

    in_capitals = True
    draw = "uniform(0::float, 1::float, random())"

    def __init__(self, connection: Any) -> None:
        self._connection, self._cursor = connection, connection.cursor()

    def columns(self, select: str) -> dict[str, Column]:
        """As in `Connection`."""
        import pyarrow.types as types

        found = {}
        for field in self._cursor.adbc_execute_schema(select):
            is_known = not (types.is_binary(field.type) or types.is_time(field.type))
            found[field.name] = Column(self.quoted(field.name) + ("" if is_known else "::VARCHAR"))
        return found

    def read(self, select: str) -> Rows:
        """As in `Connection`."""
        self._cursor.execute(select)
        reader = self._cursor.fetch_record_batch()
        return Rows(reader.schema, reader)

    def quoted(self, name: str) -> str:
        """As in `Connection`."""
        return '"' + name.replace('"', '""') + '"'

    def close(self) -> None:
        """As in `Connection`."""
        self._cursor.close()
        self._connection.close()


def remedy(error: Exception) -> str:
    """What a person can do, by the words of the error."""
    return next((way_out for words, way_out in WORDS.items() if words in str(error)), "")


def _settings(address: Address, environment: Mapping[str, str]) -> dict[str, str]:
    """Everything that is known, by the names of parameters; the URL comes first."""
    path = dict(zip(("database", "schema"), address.path, strict=False))
    url = {"account": address.host, "port": address.port, "user": address.user, "password": address.password} | path
    settings = {name: value for name, value in url.items() if value} | address.parameters
    for name, variables in VARIABLES.items():
        for variable in variables:
            if variable in environment:
                settings.setdefault(name, environment[variable])
    if unknown := sorted(set(settings) - set(VARIABLES)):
        raise ConfigError(f"data.source: unknown parameter {unknown[0]!r}; expected one of {', '.join(VARIABLES)}")
    address.hide(*(settings.get(name) for name in SECRETS))
    return settings


def _options(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings as the driver calls them."""
    options = {OPTIONS[name]: value for name, value in settings.items() if name in OPTIONS}
    authenticator = settings.get("authenticator", "").lower()
    if key := settings.get("private_key_file"):
        try:
            options[f"{CLIENT}.jwt_private_key_pkcs8_value"] = Path(key).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(
                "data.source: the file of private_key_file cannot be read as PEM; correct it, or "
                "SNOWFLAKE_PRIVATE_KEY_FILE"
            ) from None
        if password := settings.get("private_key_file_pwd"):
            options[f"{CLIENT}.jwt_private_key_pkcs8_password"] = password
        authenticator = authenticator or "snowflake_jwt"
    if "token" in settings:
        authenticator = authenticator or "oauth"
    if authenticator and authenticator not in AUTHENTICATORS:
        raise ConfigError(
            f"data.source: authenticator = {authenticator!r}; expected one of {', '.join(AUTHENTICATORS)}"
        )
    return options | ({f"{SQL}.auth_type": AUTHENTICATORS[authenticator]} if authenticator else {})
