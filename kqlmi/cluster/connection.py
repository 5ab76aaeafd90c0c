"""The connection to a cluster: one method that executes a command or query and returns its table."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, cast
from urllib.parse import urlsplit

from kqlmi.cluster.faults.interrupts import SERVER_SECONDS, interrupted
from kqlmi.cluster.faults.refusals import nothing_happened, translated
from kqlmi.cluster.faults.retries import Retrying
from kqlmi.cluster.protocol import results
from kqlmi.cluster.protocol.response_checks import RefusedError
from kqlmi.cluster.protocol.table import Table
from kqlmi.cluster.protocol.transport import passage, watch
from kqlmi.credentials import SignIn
from kqlmi.errors import ConnectionFailedError, InputError, RequestTimeoutError, ServiceError
from kqlmi.model.statement import Statement

if TYPE_CHECKING:
    from azure.kusto.data import KustoClient, KustoConnectionStringBuilder

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
DEFAULT_TIMEOUT: Final = 240.0
_LONGEST: Final = 3600.0
# The client waits this much longer than the server, so that the server's own "timed out" arrives.
_GRACE: Final = timedelta(seconds=10)
_CHECK: Final = "It may have been run. Check before you send it again."
_LONGER: Final = "To wait longer, set %config KqlMI.timeout = 900, or timeout = 900 in the configuration file."


class Connection(Protocol):
    """The interface for sending commands and queries to a cluster."""

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        """Execute one command or query and return its first result table, with the others in ``others``."""

    def close(self) -> None:
        """Release the connection's resources; it cannot be used afterwards."""


def new_client_request_id() -> str:
    """Return a new ID that identifies a request in ``.show commands-and-queries`` and ``.show journal``."""
    return f"kqlmi;{uuid.uuid4()}"


@dataclass(frozen=True, slots=True)
class Target:
    """The URLs of a cluster, and the way to sign in. ``ingest_url`` is empty if it is unknown."""

    query_url: str
    sign_in: SignIn
    ingest_url: str = ""


def refuse_plain_http(url: str, sign_in: SignIn) -> None:
    """Raise InputError if a token would be sent over plain http to another machine."""
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and sign_in.mode != "none":
        raise InputError(
            f"Cannot send a token to {parts.netloc} over plain http.",
            hint=f"Use https://{parts.netloc}.",
        )


class KustoConnection:
    """A connection over azure-kusto-data, safe to use from several threads.

    ``timeout`` is the server's deadline for each request in seconds, one hour at most. It covers all attempts to send the
    request. ``retrying`` determines when a request is sent again.
    """

    def __init__(
        self,
        target: Target,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        read_only: bool = False,
        retrying: Retrying | None = None,
    ) -> None:
        """Create the client; nothing is sent yet."""
        parts = urlsplit(target.query_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError(
                f"{target.query_url!r} is not the URL of a cluster.",
                hint="Use https://<cluster>.<region>.kusto.windows.net, or local.",
            )
        refuse_plain_http(target.query_url, target.sign_in)
        server_deadline(timeout)
        self._target, self._timeout, self._read_only = target, timeout, read_only
        self._retrying, self._left = retrying or Retrying(), set[str]()
        self._client = _client(target)

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        """Execute one command or query and return its first result table, with the others in ``others``.

        The text is sent byte for byte, and a Statement is not parsed again. The first token determines whether the
        management or the query endpoint is used.

        Raises:
            SignInError: No token was obtained.
            ConnectionFailedError: The cluster did not respond. A RequestTimeoutError means that time ran out.
            ServiceError: The cluster returned an error.
            RequestInterruptedError: The request was interrupted, and if it was a query, cancelled on the cluster.
        """
        statement, request = Statement.parse(text), client_request_id or new_client_request_id()
        seconds = self._timeout if timeout is None else timeout
        server_deadline(seconds)
        try:
            return self._retrying.send(statement, lambda left: self._send(statement, database, request, left), seconds)
        except (ConnectionFailedError, ServiceError) as error:
            if statement.is_write and not nothing_happened(error):
                error.hint = f"{error.hint} {_CHECK}".strip()
            elif isinstance(error, ConnectionFailedError) and error.sent:
                longer = f" {_LONGER}" if isinstance(error, RequestTimeoutError) else ""
                error.hint = f"The request changes nothing. Try again.{longer}"
            raise
        except KeyboardInterrupt:
            raise interrupted(
                statement,
                request,
                lambda cancel: self._send(Statement(cancel), database, new_client_request_id(), SERVER_SECONDS),
                sent=request in self._left,
            ) from None
        finally:
            self._left.discard(request)

    def close(self) -> None:
        """Close the client, and then the credential, which other clients may have used too."""
        self._client.close()
        self._target.sign_in.close()

    def _send(self, statement: Statement, database: str | None, client_request_id: str, seconds: float) -> Table:
        from azure.kusto.data import ClientRequestProperties

        properties = ClientRequestProperties()
        properties.client_request_id = client_request_id
        properties.set_option(properties.request_timeout_option_name, server_deadline(seconds))
        for name, value in statement.parameters.items():
            properties.set_parameter(name, value)  # type: ignore[arg-type] # it is sent as JSON, so a number may be one
        if self._read_only:
            properties.set_option("request_readonly", value=True)
        run = self._client.execute_mgmt if statement.kind == "command" else self._client.execute_query
        self._left.discard(client_request_id)
        with (
            passage(seconds + _GRACE.total_seconds(), lambda: self._left.add(client_request_id)) as on_its_way,
            translated(self._target.query_url, self._target.sign_in, on_its_way, client_request_id, statement),
        ):
            return cast("Table", run(database or "NetDefaultDB", statement, properties))


def server_deadline(seconds: object) -> timedelta:
    """Return a timeout in seconds as the server's deadline, or raise InputError if the server does not accept it."""
    if not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST:
        raise InputError(
            f"{seconds!r} seconds is not a valid timeout.", hint="Use more than 0, and at most 3600 seconds."
        )
    return timedelta(seconds=seconds)


def _client(target: Target) -> "KustoClient":
    from azure.kusto.data import KustoClient, KustoConnectionStringBuilder

    class Client(KustoClient):
        """The SDK's client, except that it keeps errors and further tables in a response, and the bodies of errors."""

        _client_server_delta = _GRACE

        @staticmethod
        def _kusto_parse_by_endpoint(endpoint: str, response_json: Any) -> Any:
            return results.read(response_json, version=2 if endpoint.endswith("/v2/rest/query") else 1)

        @staticmethod
        def _handle_http_error(*words: Any) -> NoReturn:
            raise RefusedError(words[3]) from words[0]

    client = Client(connection_string(KustoConnectionStringBuilder, target))
    # A proxy or a netrc file of the environment must not affect requests to this machine.
    client._session.trust_env = urlsplit(target.query_url).hostname not in LOOPBACK  # noqa: SLF001
    watch(client._session)  # noqa: SLF001
    return client


def connection_string(builder: "type[KustoConnectionStringBuilder]", target: Target) -> "KustoConnectionStringBuilder":
    """Return the SDK's connection string for a target's query URL and sign-in."""
    from kqlmi import __version__

    if target.sign_in.token is not None:
        made = builder.with_aad_application_token_authentication(target.query_url, target.sign_in.token)
    elif target.sign_in.credential is not None:
        made = builder.with_azure_token_credential(target.query_url, target.sign_in.for_cluster)
    else:
        # A plain builder sends no credentials; the SDK's explicit option for that accepts plain http only.
        made = builder(target.query_url)
    made._set_connector_details("kqlmi", __version__, send_user=False)  # noqa: SLF001
    return made
