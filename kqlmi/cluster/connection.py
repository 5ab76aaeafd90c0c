"""One method between kqlmi and a cluster: execute a command or query and give its table."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from kqlmi.cluster.discretion import discreet
from kqlmi.cluster.table import Column, Table
from kqlmi.credentials import SignIn
from kqlmi.errors import (
    ConnectionFailedError,
    EndpointNotFoundError,
    ForbiddenError,
    InputError,
    KqlmiError,
    NotConnectedError,
    RequestTimeoutError,
    ServiceError,
    SignInError,
    ThrottledError,
    UnauthorizedError,
)
from kqlmi.model.lexing import is_management

if TYPE_CHECKING:
    from azure.kusto.data import KustoClient, KustoConnectionStringBuilder

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
DEFAULT_TIMEOUT: Final = 240.0
_LONGEST: Final = 3600.0
# The client waits this much longer than the server, so that the server's own "timed out" arrives.
_GRACE: Final = timedelta(seconds=10)
_ERROR_LENGTH: Final = 2000


class Connection(Protocol):
    """What sends text to a cluster."""

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        """Execute one command or query and give its primary result."""
        ...

    def close(self) -> None:
        """Give back what the connection holds; it cannot be used afterwards."""
        ...


def new_client_request_id() -> str:
    """Give an ID by which a request is found in ``.show commands-and-queries`` and ``.show journal``."""
    return f"kqlmi;{uuid.uuid4()}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a cluster is, and how to sign in; ``ingest_url`` is empty where it is not known."""

    query_url: str
    sign_in: SignIn
    ingest_url: str = ""


class KustoConnection:
    """A connection over azure-kusto-data; safe to use from several threads.

    ``timeout`` is in seconds and becomes the server's own deadline for each request, one hour at most.
    """

    def __init__(self, target: Target, *, timeout: float = DEFAULT_TIMEOUT, read_only: bool = False) -> None:
        """Make the client; nothing is sent yet."""
        parts = urlsplit(target.query_url)
        loopback = parts.hostname in LOOPBACK
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError(
                f"{target.query_url!r} is not the URL of a cluster.",
                hint="Write https://<cluster>.<region>.kusto.windows.net, or local.",
            )
        if parts.scheme == "http" and not loopback and target.sign_in.mode != "none":
            raise InputError("A token is sent over https only.", hint=f"Write https://{parts.netloc}.")
        _deadline(timeout)
        self._target, self._timeout, self._read_only = target, timeout, read_only
        self._client = _client(target, trust_environment=not loopback)

    def execute(
        self, text: str, database: str | None = None, *, timeout: float | None = None, client_request_id: str = ""
    ) -> Table:
        """Execute one command or query and give its primary result.

        The text is sent byte for byte. Its first token decides between management and query.

        Raises:
            SignInError: No token could be had.
            ConnectionFailedError: No answer came; RequestTimeoutError if time ran out.
            ServiceError: The cluster answered with an error.
        """
        from azure.kusto.data import ClientRequestProperties

        properties = ClientRequestProperties()
        properties.client_request_id = client_request_id or new_client_request_id()
        deadline = _deadline(self._timeout if timeout is None else timeout)
        properties.set_option(properties.request_timeout_option_name, deadline)
        if self._read_only:
            properties.set_option("request_readonly", value=True)
        run = self._client.execute_mgmt if is_management(text) else self._client.execute_query
        with discreet(self._target.sign_in, text), translated(properties.client_request_id, self._target):
            results = run(database or "NetDefaultDB", text, properties).primary_results
        columns = tuple(
            Column.of(column["ColumnName"], column.get("ColumnType") or column.get("DataType") or "string")
            for column in results[0].raw_columns
        )
        return Table(columns, tuple(results[0].raw_rows))

    def close(self) -> None:
        """Close the client, and then the credential, which others may have used as well."""
        self._client.close()
        self._target.sign_in.close()


def _deadline(seconds: object) -> timedelta:
    if not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST:
        raise InputError(f"A timeout of {seconds!r} seconds is not possible.", hint="Give up to 3600 seconds.")
    return timedelta(seconds=seconds)


def _client(target: Target, *, trust_environment: bool) -> "KustoClient":
    from azure.kusto.data import KustoClient, KustoConnectionStringBuilder

    class Client(KustoClient):
        """The SDK's client, which by itself overlooks an error that comes only in a frame that closes an answer."""

        _client_server_delta = _GRACE

        @staticmethod
        def _kusto_parse_by_endpoint(endpoint: str, response_json: Any) -> Any:
            _refuse_late_errors(response_json)
            _refuse_part(response_json)
            return KustoClient._kusto_parse_by_endpoint(endpoint, response_json)  # noqa: SLF001

    client = Client(connection_string(KustoConnectionStringBuilder, target))
    # A proxy or a netrc file of the environment has no business with a request to this machine.
    client._session.trust_env = trust_environment  # noqa: SLF001
    return client


def connection_string(builder: "type[KustoConnectionStringBuilder]", target: Target) -> "KustoConnectionStringBuilder":
    """Give the SDK's description of a target's query URL, and of how to sign in there."""
    from kqlmi import __version__

    if target.sign_in.token is not None:
        made = builder.with_aad_application_token_authentication(target.query_url, target.sign_in.token)
    elif target.sign_in.credential is not None:
        made = builder.with_azure_token_credential(target.query_url, target.sign_in.credential)
    else:
        # Without anything further, the client sends no credentials; its own way of saying so takes plain http only.
        made = builder(target.query_url)
    made._set_connector_details("kqlmi", __version__, send_user=False)  # noqa: SLF001
    return made


class _PartialError(Exception):
    """An answer that is not whole, or not in the form that was asked for."""


def _refuse_part(answer: Any) -> None:
    """Refuse a v2 answer that does not end, or that comes in pieces, and any answer without a table."""
    if isinstance(answer, list):
        kinds = [frame.get("FrameType") for frame in answer]
        whole = kinds[-1:] == ["DataSetCompletion"] and "DataTable" in kinds and "TableFragment" not in kinds
    else:
        whole = bool(answer.get("Tables"))
    if not whole:
        raise _PartialError


class _LateError(Exception):
    """An error that a frame of a successful answer carries."""


def _refuse_late_errors(answer: Any) -> None:
    """Raise the errors that stand in the closing frames of a v2 answer."""
    for frame in answer if isinstance(answer, list) else ():
        if frame.get("FrameType") == "DataSetCompletion" and (frame.get("HasErrors") or frame.get("Cancelled")):
            raise _LateError(frame.get("OneApiErrors") or [{}])
        if frame.get("TableKind") == "QueryCompletionInformation":
            names = [column["ColumnName"] for column in frame["Columns"]]
            for row in frame["Rows"]:
                fields = dict(zip(names, row, strict=False))
                # Level 4 is information, below it stand errors.
                if isinstance(row, list) and fields.get("Level", 4) < 4:  # noqa: PLR2004
                    raise _LateError([{"error": {"@message": str(fields.get("Payload", ""))}}])


@contextmanager
def translated(client_request_id: str, target: Target) -> Iterator[None]:
    """Turn the SDK's errors into those of kqlmi."""
    import requests
    from azure.kusto.data import exceptions as sdk

    host = urlsplit(target.query_url).netloc
    try:
        yield
    except _LateError as error:
        raise _service_error(_one_api(error.args[0]), 200, client_request_id) from error
    except sdk.KustoMultiApiError as error:
        fields = error.get_api_errors()
        found = {"code": fields[0].code, "@message": fields[0].description, "@type": fields[0].type} if fields else {}
        raise _service_error(found, 200, client_request_id) from error
    except sdk.KustoThrottlingError as error:
        raise _throttled(error.args[1], client_request_id) from error
    except sdk.KustoNetworkError as error:
        raise _network_error(error, host, client_request_id) from error
    except sdk.KustoAuthenticationError as error:
        # The cause repeats in full what an authority answered.
        raise _sign_in_error(error.exception, target) from None
    except sdk.KustoServiceError as error:
        raise _refusal(error.http_response, host, client_request_id) from error
    except (sdk.KustoClosedError, sdk.KustoClientInvalidConnectionStringException) as error:
        raise _unsent(error, host) from error
    except requests.RequestException as error:
        raise _network_error(error, host, client_request_id) from error
    except (_PartialError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # The last five are what the SDK raises over a body that is no Kusto answer.
        raise _not_kusto(host, client_request_id) from error


def _unsent(error: Exception, host: str) -> KqlmiError:
    """Give the error of a request that the SDK did not send."""
    from azure.kusto.data.exceptions import KustoClosedError

    if isinstance(error, KustoClosedError):
        return NotConnectedError("The connection is closed.", hint="Connect again.")
    return InputError(
        f"{host} is no address that gets a token.", hint="Is this the URL of an Azure Data Explorer cluster?"
    )


def _refusal(response: Any, host: str, client_request_id: str) -> ServiceError:
    status = getattr(response, "status_code", None)
    if status == HTTPStatus.OK:
        return _not_kusto(host, client_request_id)
    return _service_error(_body(response), status, client_request_id)


def _not_kusto(host: str, client_request_id: str) -> ServiceError:
    return ServiceError(
        f"{host} gave an answer that is not Kusto's, or not whole.",
        hint="Is this the URL of a cluster, and no proxy in between?",
        client_request_id=client_request_id,
    )


def _one_api(errors: Sequence[Any]) -> dict[str, Any]:
    first = errors[0] if errors and isinstance(errors[0], dict) else {}
    found = first.get("error")
    return found if isinstance(found, dict) else {}


def _body(response: Any) -> dict[str, Any]:
    """Give the OneApi error of a response; plain text becomes its message, and a page of markup does not."""
    try:
        found = _one_api([response.json()])
    except (AttributeError, ValueError):
        found = {}
    text = " ".join(getattr(response, "text", "").split())
    return found or {"@message": "" if text.startswith("<") else text}


def _service_error(error: dict[str, Any], status: int | None, client_request_id: str) -> ServiceError:
    text = str(error.get("@message") or error.get("message") or f"The cluster answered with status {status}.")
    kinds = {
        401: (UnauthorizedError, "Sign in again, or ask which tenant the cluster belongs to."),
        403: (ForbiddenError, "The caller lacks a Kusto role for this."),
        404: (EndpointNotFoundError, "Is this the URL of a cluster's query endpoint?"),
    }
    kind, hint = kinds.get(status or 0, (ServiceError, ""))
    inner = error.get("innererror")
    details = inner.get("@details") if isinstance(inner, dict) else None
    return kind(
        text[:_ERROR_LENGTH],
        hint=hint,
        code=str(error.get("code") or ""),
        type_name=str(error.get("@type") or ""),
        status=status,
        permanent=error.get("@permanent"),
        client_request_id=client_request_id,
        details=details if isinstance(details, dict) else None,
    )


def _throttled(response: Any, client_request_id: str) -> ThrottledError:
    error, wait = _body(response), response.headers.get("Retry-After", "")
    seconds = float(wait) if wait.isdecimal() else None
    return ThrottledError(
        str(error.get("@message") or "The cluster is throttling requests.")[:_ERROR_LENGTH],
        hint=f"Try again in {seconds:g} seconds." if seconds else "Try again in a while.",
        retry_after=seconds,
        code=str(error.get("code") or ""),
        type_name=str(error.get("@type") or ""),
        status=429,
        permanent=False,
        client_request_id=client_request_id,
    )


def _network_error(error: Exception, host: str, client_request_id: str) -> ConnectionFailedError:
    import requests
    from urllib3.exceptions import NewConnectionError

    cause = error.__cause__ or error
    if isinstance(cause, requests.Timeout) and not isinstance(cause, requests.ConnectTimeout):
        return RequestTimeoutError(
            f"{host} gave no answer in time.",
            hint="Whether it was carried out is not known: look before you send it again.",
            client_request_id=client_request_id,
        )
    inner = cause.args[0] if cause.args else None
    unsent = isinstance(cause, requests.ConnectTimeout) or isinstance(
        getattr(inner, "reason", None), NewConnectionError
    )
    return ConnectionFailedError(
        f"{host} cannot be reached." if unsent else f"The connection to {host} broke before the answer came.",
        hint="Check the URL and the network."
        if unsent
        else "Whether it was carried out is not known: look before you send it again.",
        client_request_id=client_request_id,
        sent=not unsent,
    )


def _sign_in_error(error: Exception, target: Target) -> KqlmiError:
    """Give the credential's own error, which says what was tried."""
    if isinstance(error, KqlmiError):
        return error
    return SignInError(f"Signing in by {target.sign_in.mode} failed: {type(error).__name__}.", hint="Connect again.")
