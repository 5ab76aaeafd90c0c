"""The translation of the SDK's errors into kqlmi's errors, and what an error proves about its request."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from kqlmi.cluster.faults.unreachable import unreached
from kqlmi.cluster.protocol.response_checks import LateError, PartialAnswerError, RefusedError, body
from kqlmi.cluster.protocol.transport import Passage
from kqlmi.credentials import SignIn
from kqlmi.errors import (
    AnswerError,
    ConnectionFailedError,
    EndpointNotFoundError,
    ForbiddenError,
    InputError,
    KqlmiError,
    NotConnectedError,
    RequestInterruptedError,
    RequestTimeoutError,
    ServiceError,
    SignInError,
    ThrottledError,
    UnauthorizedError,
    is_refusal,
)
from kqlmi.model.statement import Statement

_ERROR_LENGTH: Final = 2000
_KINDS: Final = {
    401: (UnauthorizedError, "Sign in again. If the cluster belongs to another tenant, use --tenant."),
    403: (
        ForbiddenError,
        "The caller lacks a Kusto role for this; one granted just now can take minutes to take effect.",
    ),
    404: (EndpointNotFoundError, "Check that this is the URL of a cluster's query endpoint."),
    429: (ThrottledError, "Try again later."),
}
# Proxies and gateways use these statuses too; their errors with any other status are plain ServiceErrors.
_SHARED: Final = frozenset({404, 429})
_OF_GATEWAYS: Final = {
    407: "A proxy requires authentication: put the user name and the password into the URL of HTTPS_PROXY.",
    413: "A proxy or gateway in between does not accept a request of this size.",
    451: "A proxy or firewall in between blocks this host.",
}
_GATEWAY: Final = "The response is not from Kusto, but from a proxy, gateway or firewall in between."


def nothing_happened(error: BaseException) -> bool:
    """Check whether an error proves that a command had no effect: it never left, or Kusto itself refused it."""
    if isinstance(error, InputError | NotConnectedError | SignInError):
        return True
    if isinstance(error, ServiceError):
        return not error.sent or is_refusal(error.status, own=error.is_kustos)
    return isinstance(error, ConnectionFailedError | RequestInterruptedError) and not error.sent


@contextmanager
def translated(
    url: str, sign_in: SignIn, passage: Passage, client_request_id: str = "", statement: Statement | None = None
) -> Iterator[None]:
    """Translate the SDK's errors about a request to ``url`` into kqlmi's errors, which contain no secret.

    The hidden literals of ``statement``, which is sent, and the tokens of the sign-in are redacted in every kqlmi error.
    """
    try:
        with _as_kqlmis(urlsplit(url).netloc, sign_in.mode, client_request_id, passage):
            yield
    except KqlmiError as error:
        error.forget({*sign_in.secrets, *(statement.hidden if statement else ())})
        raise


# The SDK raises these for a response body that is not valid Kusto.
_OF_THE_SDK: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


@contextmanager
def _as_kqlmis(host: str, mode: str, client_request_id: str, passage: Passage) -> Iterator[None]:
    import requests
    from azure.kusto.data import exceptions as sdk

    network = (sdk.KustoNetworkError, requests.RequestException)
    try:
        yield
    except sdk.KustoAuthenticationError as error:
        # The cause repeats an authority's response in full; the error of kqlmi's credential reports what was tried.
        own, name = error.exception, type(error.exception).__name__
        failed = SignInError(f"Signing in with {mode} failed: {name}.", hint="Connect again.")
        raise (own if isinstance(own, KqlmiError) else failed) from None
    except sdk.KustoClosedError as error:
        raise NotConnectedError("The connection is closed.", hint="Connect again.") from error
    except sdk.KustoClientInvalidConnectionStringException as error:
        hint = "Check that this is the URL of an Azure Data Explorer cluster."
        raise InputError(f"{host} is not a trusted Kusto address, so no token was sent to it.", hint=hint) from error
    except (*network, sdk.KustoError, LateError, PartialAnswerError, RefusedError, *_OF_THE_SDK) as error:
        found: ConnectionFailedError | ServiceError
        cause = error.__cause__ or error
        is_network, is_timeout = isinstance(error, network), isinstance(cause, requests.Timeout)
        if passage.late or (is_network and is_timeout and passage.left):
            found = RequestTimeoutError(f"{host} did not respond within {passage.seconds:g} seconds.")
        else:
            found = _network_error(error, host, passage) if is_network else _service_error(error, host)
        found.client_request_id, found.sent = client_request_id, passage.left
        raise found from error


def _network_error(error: Exception, host: str, passage: Passage) -> ConnectionFailedError:
    if passage.left:
        return ConnectionFailedError(f"The connection to {host} broke before a response arrived.")
    found = unreached(error, host)
    why = f", {found.why}" if found.why else ""
    return ConnectionFailedError(
        f"{host} cannot be reached{why}. Nothing was sent.", hint=found.hint, lasting=found.lasting
    )


def _service_error(error: Exception, host: str) -> ServiceError:
    from azure.kusto.data import exceptions as sdk

    if isinstance(error, LateError):
        return _kustos_error(error.error, HTTPStatus.OK)
    if isinstance(error, sdk.KustoMultiApiError):
        first = next(iter(error.get_api_errors()), None)
        fields = {"code": first.code, "@message": first.description, "@type": first.type} if first else {}
        return _kustos_error(fields, HTTPStatus.OK)
    response = error.args[1] if isinstance(error, sdk.KustoThrottlingError) else getattr(error, "http_response", None)
    status = getattr(response, "status_code", None)
    if response is None or status is None or HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        lacks = f": {error}" if isinstance(error, PartialAnswerError) and str(error) else ""
        return AnswerError(
            f"The response from {host} is not from Kusto, or is incomplete{lacks}.",
            hint="Check that this is the URL of a cluster, and that there is no proxy in between.",
        )
    fields = body(response)
    asks = str(response.headers.get("WWW-Authenticate", "")).strip().casefold().startswith("bearer")
    is_kustos = (fields.get("code") and fields.get("@type")) or (status == HTTPStatus.UNAUTHORIZED and asks)
    found = _kustos_error(fields, status) if is_kustos else _gateways_error(fields, status, host)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        found.permanent = False
    if after := _retry_after(response):
        found.hint = f"Try again in {after:.0f} seconds."
    found.retry_after = after
    return found


def _kustos_error(error: Mapping[str, Any], status: int) -> ServiceError:
    text = str(error.get("@message") or error.get("message") or f"The cluster returned status {status}.")
    kind, hint = _KINDS.get(status, (ServiceError, ""))
    inner = error.get("innererror")
    details = inner.get("@details") if isinstance(inner, dict) else None
    return kind(
        text[:_ERROR_LENGTH],
        hint=hint,
        code=str(error.get("code") or ""),
        type_name=str(error.get("@type") or ""),
        status=status,
        permanent=error.get("@permanent"),
        details=details if isinstance(details, dict) else None,
    )


def _gateways_error(error: Mapping[str, Any], status: int, host: str) -> ServiceError:
    """Return the error for a response that Kusto did not write, whichever host it came from."""
    text = str(error.get("@message") or "")[:_ERROR_LENGTH]
    kind, hint = _KINDS[status] if status in _SHARED else (ServiceError, _OF_GATEWAYS.get(status, _GATEWAY))
    what = f"{host} returned status {status} without a Kusto error{f': {text}' if text else '.'}"
    return kind(what, hint=hint, status=status)


def _retry_after(response: Any) -> float | None:
    """Return the seconds to wait according to a response, in which they are a number or a date."""
    text = str(getattr(response, "headers", {}).get("Retry-After", "")).strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
