"""What the SDK raises, as errors of kqlmi, and what an error proves of the request that met it."""

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from kqlmi.cluster.answers import LateError, PartialAnswerError, body
from kqlmi.errors import (
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

_ERROR_LENGTH: Final = 2000
_LOOK: Final = "Whether it was carried out is not known: look before you send it again."
_KINDS: Final = {
    401: (UnauthorizedError, "Sign in again, or ask which tenant the cluster belongs to."),
    403: (ForbiddenError, "The caller lacks a Kusto role for this; one that was granted just now can take minutes."),
    404: (EndpointNotFoundError, "Is this the URL of a cluster's query endpoint?"),
    429: (ThrottledError, "Try again in a while."),
}

NO_SUCCESS: Final = (ConnectionFailedError, NotConnectedError, ServiceError, SignInError)
"""What a request raises that was not answered with a table."""


def nothing_happened(error: BaseException) -> bool:
    """Tell whether an error proves that a command was not carried out: it never left, or the service refused it."""
    if isinstance(error, ConnectionFailedError | RequestInterruptedError):
        return not error.sent
    if isinstance(error, InputError | NotConnectedError | SignInError):
        return True
    return isinstance(error, ServiceError) and is_refusal(error.status, error.code)


@contextmanager
def translated(host: str, mode: str, client_request_id: str, left: Container[str]) -> Iterator[None]:
    """Turn the SDK's errors over a request to ``host`` into those of kqlmi.

    ``mode`` is the way of signing in; ``left`` holds the IDs of the requests that may have left.
    """
    import requests
    from azure.kusto.data import exceptions as sdk

    try:
        yield
    except LateError as error:
        raise _service_error(error.error, HTTPStatus.OK, client_request_id) from error
    except sdk.KustoMultiApiError as error:
        fields = error.get_api_errors()
        found = {"code": fields[0].code, "@message": fields[0].description, "@type": fields[0].type} if fields else {}
        raise _service_error(found, HTTPStatus.OK, client_request_id) from error
    except sdk.KustoThrottlingError as error:
        raise _refusal(error.args[1], host, client_request_id) from error
    except sdk.KustoNetworkError as error:
        raise _network_error(error, host, client_request_id, left) from error
    except sdk.KustoAuthenticationError as error:
        # The cause repeats in full what an authority answered.
        raise _sign_in_error(error.exception, mode) from None
    except sdk.KustoServiceError as error:
        raise _refusal(error.http_response, host, client_request_id) from error
    except (sdk.KustoClosedError, sdk.KustoClientInvalidConnectionStringException) as error:
        raise _unsent(error, host) from error
    except requests.RequestException as error:
        raise _network_error(error, host, client_request_id, left) from error
    except (PartialAnswerError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # The last five are what the SDK raises over a body that is no Kusto answer.
        raise _not_kusto(host, client_request_id) from error


def _refusal(response: Any, host: str, client_request_id: str) -> ServiceError:
    status = getattr(response, "status_code", None)
    if status == HTTPStatus.OK:
        return _not_kusto(host, client_request_id)
    return _service_error(body(response), status, client_request_id, _retry_after(response))


def _not_kusto(host: str, client_request_id: str) -> ServiceError:
    return ServiceError(
        f"{host} gave an answer that is not Kusto's, or not whole.",
        hint="Is this the URL of a cluster, and no proxy in between?",
        client_request_id=client_request_id,
    )


def _service_error(
    error: Mapping[str, Any], status: int | None, client_request_id: str, retry_after: float | None = None
) -> ServiceError:
    text = str(error.get("@message") or error.get("message") or f"The cluster answered with status {status}.")
    kind, hint = _KINDS.get(status or 0, (ServiceError, ""))
    inner = error.get("innererror")
    details = inner.get("@details") if isinstance(inner, dict) else None
    return kind(
        text[:_ERROR_LENGTH],
        hint=hint if not retry_after else f"Try again in {retry_after:.0f} seconds.",
        code=str(error.get("code") or ""),
        type_name=str(error.get("@type") or ""),
        status=status,
        permanent=False if status == HTTPStatus.TOO_MANY_REQUESTS else error.get("@permanent"),
        client_request_id=client_request_id,
        details=details if isinstance(details, dict) else None,
        retry_after=retry_after,
    )


def _retry_after(response: Any) -> float | None:
    """Give the seconds that a response asks to wait: it gives them as such, or as a date."""
    text = str(getattr(response, "headers", {}).get("Retry-After", "")).strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _network_error(error: Exception, host: str, client_request_id: str, left: Container[str]) -> ConnectionFailedError:
    import requests
    from urllib3 import exceptions

    cause = error.__cause__ or error
    reason = getattr(cause.args[0] if cause.args else None, "reason", None)
    unsent = isinstance(cause, requests.ConnectTimeout) or isinstance(reason, exceptions.NewConnectionError)
    if unsent or client_request_id not in left:
        return ConnectionFailedError(
            f"{host} cannot be reached.",
            hint="Check the URL and the network.",
            client_request_id=client_request_id,
            sent=False,
            # urllib3 2 tells a name that does not exist from a host that is down.
            lasting=isinstance(reason, getattr(exceptions, "NameResolutionError", ())),
        )
    timed_out = isinstance(cause, requests.Timeout)
    kind = RequestTimeoutError if timed_out else ConnectionFailedError
    told = f"{host} gave no answer in time." if timed_out else f"The connection to {host} broke before the answer came."
    return kind(told, hint=_LOOK, client_request_id=client_request_id)


def _unsent(error: Exception, host: str) -> KqlmiError:
    """Give the error of a request that the SDK did not send."""
    from azure.kusto.data.exceptions import KustoClosedError

    if isinstance(error, KustoClosedError):
        return NotConnectedError("The connection is closed.", hint="Connect again.")
    return InputError(
        f"{host} is no address that gets a token.", hint="Is this the URL of an Azure Data Explorer cluster?"
    )


def _sign_in_error(error: Exception, mode: str) -> KqlmiError:
    """Give the credential's own error, which says what was tried."""
    if isinstance(error, KqlmiError):
        return error
    return SignInError(f"Signing in by {mode} failed: {type(error).__name__}.", hint="Connect again.")
