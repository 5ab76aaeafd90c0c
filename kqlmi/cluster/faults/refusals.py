"""What the SDK raises, as errors of kqlmi, and what an error proves about the request that it ended."""

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
    401: (UnauthorizedError, "Sign in again, or ask which tenant the cluster belongs to."),
    403: (ForbiddenError, "The caller lacks a Kusto role for this; one that was granted just now can take minutes."),
    404: (EndpointNotFoundError, "Is this the URL of a cluster's query endpoint?"),
    429: (ThrottledError, "Try again in a while."),
}
# What stands on the way writes these as well; of the others, an error that it wrote is a plain ServiceError.
_ANYBODYS: Final = frozenset({404, 429})
_OF_GATEWAYS: Final = {
    407: "A proxy wants you to sign in to it: put the name and the password into the URL of HTTPS_PROXY.",
    413: "Something on the way takes no request of this size.",
    451: "Something on the way blocks this host.",
}
_GATEWAY: Final = "Not Kusto, but a proxy, a gateway or a firewall on the way answers so."


def nothing_happened(error: BaseException) -> bool:
    """Return whether an error proves that a command had no effect: it never left, or Kusto itself refused it."""
    if isinstance(error, InputError | NotConnectedError | SignInError):
        return True
    if isinstance(error, ServiceError):
        return not error.sent or is_refusal(error.status, own=error.is_kustos)
    return isinstance(error, ConnectionFailedError | RequestInterruptedError) and not error.sent


@contextmanager
def translated(
    url: str, sign_in: SignIn, passage: Passage, client_request_id: str = "", statement: Statement | None = None
) -> Iterator[None]:
    """Turn the SDK's errors about a request to ``url`` into those of kqlmi, which hold no secret.

    ``statement`` is what is sent; what it hides, and the tokens of the sign-in, are taken out of every error of kqlmi.
    """
    try:
        with _as_kqlmis(urlsplit(url).netloc, sign_in.mode, client_request_id, passage):
            yield
    except KqlmiError as error:
        error.forget({*sign_in.secrets, *(statement.hidden if statement else ())})
        raise


@contextmanager
def _as_kqlmis(host: str, mode: str, client_request_id: str, passage: Passage) -> Iterator[None]:
    import requests
    from azure.kusto.data import exceptions as sdk

    try:
        yield
    except sdk.KustoAuthenticationError as error:
        # The cause repeats in full what an authority answered.
        raise _sign_in_error(error.exception, mode) from None
    except (sdk.KustoClosedError, sdk.KustoClientInvalidConnectionStringException) as error:
        raise _unsent(error, host) from error
    except (sdk.KustoNetworkError, requests.RequestException) as error:
        raise _network_error(error, host, client_request_id, passage) from error
    except (sdk.KustoError, LateError, PartialAnswerError, RefusedError, *_OF_THE_SDK) as error:
        if passage.late:
            raise _too_late(host, client_request_id, sent=passage.left) from error
        found = _service_error(error, host, client_request_id)
        found.sent = passage.left
        raise found from error


# What the SDK raises over a body that is no Kusto answer.
_OF_THE_SDK: Final = (AttributeError, LookupError, RecursionError, TypeError, ValueError)


def _service_error(error: Exception, host: str, client_request_id: str) -> ServiceError:
    from azure.kusto.data import exceptions as sdk

    if isinstance(error, LateError):
        return _kustos_error(error.error, HTTPStatus.OK, client_request_id)
    if isinstance(error, sdk.KustoMultiApiError):
        first = next(iter(error.get_api_errors()), None)
        fields = {"code": first.code, "@message": first.description, "@type": first.type} if first else {}
        return _kustos_error(fields, HTTPStatus.OK, client_request_id)
    response = error.args[1] if isinstance(error, sdk.KustoThrottlingError) else getattr(error, "http_response", None)
    status = getattr(response, "status_code", None)
    if response is None or status is None or HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        lacks = f": {error}" if isinstance(error, PartialAnswerError) and str(error) else ""
        return AnswerError(
            f"{host} gave an answer that is not Kusto's, or not whole{lacks}.",
            hint="Is this the URL of a cluster, and no proxy in between?",
            client_request_id=client_request_id,
        )
    fields, after = body(response), _retry_after(response)
    asks = str(response.headers.get("WWW-Authenticate", "")).strip().casefold().startswith("bearer")
    if (fields.get("code") and fields.get("@type")) or (status == HTTPStatus.UNAUTHORIZED and asks):
        return _kustos_error(fields, status, client_request_id, after)
    return _gateways_error(fields, status, host, client_request_id, after)


def _kustos_error(
    error: Mapping[str, Any], status: int, client_request_id: str, retry_after: float | None = None
) -> ServiceError:
    text = str(error.get("@message") or error.get("message") or f"The cluster answered with status {status}.")
    kind, hint = _KINDS.get(status, (ServiceError, ""))
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


def _gateways_error(
    error: Mapping[str, Any], status: int, host: str, client_request_id: str, retry_after: float | None
) -> ServiceError:
    """Return the error of an answer that Kusto did not write, whichever host it came from."""
    text = str(error.get("@message") or "")[:_ERROR_LENGTH]
    kind, hint = _KINDS[status] if status in _ANYBODYS else (ServiceError, _OF_GATEWAYS.get(status, _GATEWAY))
    return kind(
        f"{host} answered with status {status}, and not with an error of Kusto{f': {text}' if text else '.'}",
        hint=hint if not retry_after else f"Try again in {retry_after:.0f} seconds.",
        status=status,
        permanent=False if status == HTTPStatus.TOO_MANY_REQUESTS else None,
        client_request_id=client_request_id,
        retry_after=retry_after,
    )


def _retry_after(response: Any) -> float | None:
    """Return the seconds that a response asks to wait, given as such or as a date."""
    text = str(getattr(response, "headers", {}).get("Retry-After", "")).strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _network_error(error: Exception, host: str, client_request_id: str, passage: Passage) -> ConnectionFailedError:
    import requests

    if passage.late:
        return _too_late(host, client_request_id, sent=passage.left)
    if not passage.left:
        found = unreached(error, host)
        return ConnectionFailedError(
            f"{host} cannot be reached{f', {found.why}' if found.why else ''}. Nothing was sent.",
            hint=found.hint,
            client_request_id=client_request_id,
            sent=False,
            lasting=found.lasting,
        )
    if isinstance(error.__cause__ or error, requests.Timeout):
        return _too_late(host, client_request_id, sent=True)
    return ConnectionFailedError(
        f"The connection to {host} broke before the answer came.", client_request_id=client_request_id
    )


def _too_late(host: str, client_request_id: str, *, sent: bool) -> RequestTimeoutError:
    return RequestTimeoutError(f"{host} gave no answer in time.", client_request_id=client_request_id, sent=sent)


def _unsent(error: Exception, host: str) -> KqlmiError:
    """Return the error of a request that the SDK did not send."""
    from azure.kusto.data.exceptions import KustoClosedError

    if isinstance(error, KustoClosedError):
        return NotConnectedError("The connection is closed.", hint="Connect again.")
    return InputError(
        f"{host} is no address that gets a token.", hint="Is this the URL of an Azure Data Explorer cluster?"
    )


def _sign_in_error(error: Exception, mode: str) -> KqlmiError:
    """Return the credential's own error, which says what was tried."""
    if isinstance(error, KqlmiError):
        return error
    return SignInError(f"Signing in by {mode} failed: {type(error).__name__}.", hint="Connect again.")
