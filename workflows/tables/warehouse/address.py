"""The URL of a warehouse, without its secrets: those stay in the memory of this process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

import msgspec

from workflows.core.errors import ConfigError

__all__ = ["SCHEMES", "Address", "address_of", "blurred", "has_secrets", "is_warehouse", "without_secrets"]

SCHEMES = {"postgresql": "postgresql", "postgres": "postgresql", "snowflake": "snowflake", "bigquery": "bigquery"}
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
URL = re.compile(rf"\b({'|'.join(SCHEMES)})://[^\s'\"]*", re.IGNORECASE)
FORM = re.compile(
    r"(?P<scheme>[A-Za-z]+)://(?:(?P<login>[^/?#]*)@)?(?P<host>[^/?#@]*)(?P<path>/[^?#@]*)?(?:\?(?P<query>.*))?"
)
PORT = re.compile(rf"[0-9]+|{VARIABLE.pattern}")
# Parameters that say nothing secret; every other one is taken out of what is kept and shown.
SHOWN = {
    *("sslmode", "connect_timeout", "application_name", "target_session_attrs", "options", "host", "port", "user"),
    *("warehouse", "role", "account", "database", "schema", "protocol", "authenticator", "region"),
    *("location", "endpoint"),
}

# URL as it is shown -> its secrets; never written down.
_secrets: dict[str, dict[str, str]] = {}


class Address(msgspec.Struct, frozen=True):
    """Where a warehouse is, and who asks, with every ${NAME} replaced by its environment variable.

    Attributes:
        shown: the URL without secrets, for messages.
        scheme: "postgresql", "snowflake" or "bigquery".
        path: the parts behind the host.
        parameters: what stands behind the question mark.
        hidden: values that no message may hold.
    """

    shown: str
    scheme: str
    user: str
    password: str
    host: str
    port: str
    path: list[str]
    parameters: dict[str, str]
    hidden: list[str]

    def __repr__(self) -> str:
        """Without secrets, for whoever prints it."""
        return f"Address({self.shown!r})"

    def hide(self, *values: str | None) -> None:
        """Let no message hold these values: secrets from elsewhere."""
        self.hidden.extend(value for value in values if value)

    def scrubbed(self, text: str) -> str:
        """A text without the secrets, and without URLs that may hold them."""
        for value in sorted(self.hidden, key=len, reverse=True):
            for form in (value, quote(value, safe=""), quote(value)):
                text = text.replace(form, "***")
        return blurred(text)


def is_warehouse(source: str) -> bool:
    """Whether data.source is the URL of a warehouse."""
    scheme, separator, _ = source.partition("://")
    return bool(separator) and scheme.lower() in SCHEMES


def blurred(text: str) -> str:
    """A text in which nothing is left of the URLs of warehouses but their schemes."""
    return URL.sub(lambda found: f"{found[1]}://***", text)


def without_secrets(source: str) -> str:
    """The URL as it may be saved and shown: no password, no parameter that may be secret; they are remembered here.

    What is wholly a ${NAME} is no secret and stays.

    Raises:
        ConfigError: it is no such URL; the sentence does not show it.
    """
    if not is_warehouse(source):
        return source
    secrets: dict[str, str] = {}
    found = _parts(source)
    login, query = found["login"], []
    if login is not None:
        user, _, password = login.partition(":")
        if not VARIABLE.fullmatch(password):
            login = user
            secrets |= {"password": unquote(password)} if password else {}
    for name, value in _parameters(found["query"]):
        if name.lower() in SHOWN or VARIABLE.fullmatch(value):
            query.append(f"{name}={value}")
        else:
            secrets[f"?{name}"] = unquote(value)
    shown = f"{SCHEMES[found['scheme'].lower()]}://{f'{login}@' if login else ''}{found['host']}{found['path'] or ''}"
    shown += f"?{'&'.join(query)}" if query else ""
    if secrets:
        _secrets[shown] = secrets
    return shown


def has_secrets(shown: str) -> bool:
    """Whether `without_secrets` took any out of the URL that it gave."""
    return shown in _secrets


def address_of(source: str, environment: Mapping[str, str] = os.environ) -> Address:
    """Read a URL as `without_secrets` gave it, with its secrets.

    Raises:
        ConfigError: a ${NAME} is no environment variable.
    """
    found, secrets = _parts(source), _secrets.get(source, {})
    hidden = list(secrets.values())

    def filled(text: str, *, is_secret: bool = False) -> str:
        """What stands in the URL has its %XX; what comes from the environment is taken as it is."""
        literals, names = VARIABLE.split(text)[::2], VARIABLE.findall(text)
        for name in names:
            if name not in environment:
                raise ConfigError(f"data.source: ${{{name}}} is no environment variable; set {name}")
        values = [environment[name] for name in names]
        if is_secret:
            hidden.extend(values)
        return "".join(unquote(literal) + value for literal, value in zip(literals, [*values, ""], strict=True))

    user, _, password = (found["login"] or "").partition(":")
    host, port = _host_and_port(found["host"])
    parameters = {
        name: filled(value, is_secret=name.lower() not in SHOWN) for name, value in _parameters(found["query"])
    }
    parameters |= {name[1:]: value for name, value in secrets.items() if name.startswith("?")}
    return Address(
        shown=source,
        scheme=SCHEMES[found["scheme"].lower()],
        user=filled(user),
        password=secrets.get("password") or filled(password, is_secret=True),
        host=filled(host),
        port=filled(port),
        path=[filled(part) for part in (found["path"] or "").split("/") if part],
        parameters=parameters,
        hidden=[value for value in hidden if value],
    )


def _parts(source: str) -> re.Match[str]:
    found = FORM.fullmatch(source.strip())
    port = _host_and_port(found["host"])[1] if found else ""
    if not found or (port and not PORT.fullmatch(port)):
        raise ConfigError(
            "data.source: the URL of the warehouse cannot be read; expected scheme://user:password@host:port/database, "
            "in a password %2F for /, %3A for :, %40 for @, %3F for ? and %23 for #"
        )
    return found


def _host_and_port(text: str) -> tuple[str, str]:
    """An IPv6 address stands in brackets, as it has colons itself."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port


def _parameters(query: str | None) -> Iterator[tuple[str, str]]:
    for part in (query or "").split("&"):
        if part:
            name, _, value = part.partition("=")
            yield name, value
