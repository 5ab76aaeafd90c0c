"""A stand-in for Microsoft Entra ID, which issues a token to clients that prove what the original requires."""

import base64
import datetime as dt
import json
import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.standins.serving import Answer, Request, serve

TENANT: Final = "72f988bf-0000-4000-8000-2d7cd011db47"
OTHER_TENANT: Final = "a0a0a0a0-0000-4000-8000-b0b0b0b0b0b0"
CLIENT: Final = "c11e47c1-0000-4000-8000-c11e47c1c11e"
SUBJECT: Final = "system:serviceaccount:notebooks:kqlmi"
ISSUER: Final = "https://oidc.example/cluster"
KUSTO: Final = "https://kusto.kusto.windows.net/.default"
# The application as which azure-identity signs users in by default.
AZURE_CLI: Final = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_USER: Final = "d0d0d0d0-0000-4000-8000-e0e0e0e0e0e0"


class _RefusedError(Exception):
    """A refusal in Entra's form: its OAuth error, its number and its sentence."""

    def __init__(self, error: str, number: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.answer = Answer(
            status,
            {
                "error": error,
                "error_description": f"AADSTS{number}: {text} Trace ID: 0 Correlation ID: 0 Timestamp: 2026-01-01 00:00:00Z",
                "error_codes": [number],
            },
        )


@dataclass
class Entra:
    """The directory: an application with a secret, a certificate and a federated issuer, and one user.

    ``token`` is the access token that it issues. ``pending`` is the number of times that a device code is still pending.
    ``echo`` makes refusals repeat what was sent, as no real authority should.
    """

    token: str
    secret: str = field(default_factory=lambda: f"planted-secret-{secrets.token_hex(8)}")
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    url: str = ""
    pending: int = 1
    echo: bool = False
    denied: bool = False
    granted: list[str] = field(default_factory=list)
    _codes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kqlmi")])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )

    def write_certificate(self, file: Path, password: str = "") -> Path:
        """Write the application's certificate and key as a PEM file."""
        encryption = serialization.BestAvailableEncryption(password.encode()) if password else None
        file.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                encryption or serialization.NoEncryption(),
            )
            + self.certificate.public_bytes(serialization.Encoding.PEM)
        )
        return file

    def federated(self, **claims: Any) -> str:
        """Return the token of a service account, signed as by its cluster."""
        reply = {
            "iss": ISSUER,
            "sub": SUBJECT,
            "aud": "api://AzureADTokenExchange",
            "exp": int(time.time()) + 600,
            **claims,
        }
        return jwt.encode(reply, self.key, "RS256")

    def answer(self, request: Request) -> Answer:
        """Answer a request as the endpoints of a tenant do."""
        _, tenant, *rest = request.route.split("/")
        route = "/".join(rest)
        host = f"https://{request.headers['Host']}"
        try:
            _check_tenant(tenant)
            if request.method == "GET" and route == "v2.0/.well-known/openid-configuration":
                return Answer(200, _configuration(f"{host}/{tenant}"))
            if request.method == "POST" and route == "oauth2/v2.0/devicecode":
                return self._device_code(request.form)
            if request.method == "POST" and route == "oauth2/v2.0/token":
                return self._token(request.form, tenant, f"{host}/{tenant}")
        except _RefusedError as refused:
            if self.echo:
                body = {**refused.answer.body}
                body["error_description"] = f"{body['error_description']} You sent {request.form}."
                return Answer(refused.answer.status, body)
            return refused.answer
        return Answer(404, b"")

    def _device_code(self, form: dict[str, str]) -> Answer:
        if form.get("client_id") != AZURE_CLI:
            raise _RefusedError("unauthorized_client", 700016, "Application was not found in the directory.")
        _check_scope(form)
        code = secrets.token_hex(16)
        self._codes[code] = self.pending
        reply = {"user_code": "KQL5MI7AB", "verification_uri": "https://microsoft.com/devicelogin", "message": "unused"}
        return Answer(200, {**reply, "device_code": code, "expires_in": 900, "interval": 0})

    def _token(self, form: dict[str, str], tenant: str, authority: str) -> Answer:
        grant = form.get("grant_type")
        if grant == _DEVICE:
            return self._device_token(form, authority)
        if grant != "client_credentials":
            raise _RefusedError(
                "unsupported_grant_type", 70003, f"The app requested an unsupported grant type '{grant}'."
            )
        if tenant != TENANT:
            raise _RefusedError("invalid_request", 53003, "An application signs in to its own tenant.")
        if form.get("client_id") != CLIENT:
            raise _RefusedError("unauthorized_client", 700016, "Application was not found in the directory.")
        _check_scope(form)
        how = self._proof(form, authority)
        self.granted.append(how)
        return Answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": self.token})

    def _proof(self, form: dict[str, str], authority: str) -> str:
        """Return how the application proved its identity."""
        if "client_secret" in form:
            if form["client_secret"] != self.secret:
                raise _RefusedError("invalid_client", 7000215, "Invalid client secret provided.", 401)
            return "secret"
        if form.get("client_assertion_type") != _ASSERTION or "client_assertion" not in form:
            raise _RefusedError("invalid_client", 7000218, "The request body must contain: 'client_assertion'.", 401)
        assertion = form["client_assertion"]
        try:
            unchecked = jwt.decode(assertion, options={"verify_signature": False})
            federated = unchecked.get("iss") == ISSUER
            audience = "api://AzureADTokenExchange" if federated else f"{authority}/oauth2/v2.0/token"
            claims = jwt.decode(
                assertion,
                self.key.public_key(),
                algorithms=["RS256", "PS256"],
                audience=audience,
                options={"require": ["exp", "iss", "sub", "aud"]},
            )
        except jwt.InvalidTokenError as error:
            raise _RefusedError(
                "invalid_client", 700027, f"The assertion is not valid: {type(error).__name__}.", 401
            ) from error
        if federated:
            if claims["sub"] != SUBJECT:
                raise _RefusedError("invalid_client", 70021, "No matching federated identity record found.", 401)
            return "federated"
        if (claims["iss"], claims["sub"]) != (CLIENT, CLIENT) or not self._is_ours(
            jwt.get_unverified_header(assertion)
        ):
            raise _RefusedError("invalid_client", 700027, "The certificate is not one of the application.", 401)
        return "certificate"

    def _is_ours(self, header: dict[str, Any]) -> bool:
        known = {"x5t": hashes.SHA1(), "x5t#S256": hashes.SHA256()}  # noqa: S303 - Entra identifies certificates by it
        found = [(header[name], self.certificate.fingerprint(kind)) for name, kind in known.items() if name in header]
        return bool(found) and all(_base64(print_) == reply.rstrip("=") for reply, print_ in found)

    def _device_token(self, form: dict[str, str], authority: str) -> Answer:
        code = form.get("device_code", "")
        if code not in self._codes or form.get("client_id") != AZURE_CLI:
            raise _RefusedError("invalid_grant", 70018, "The device code is not known, or was used.")
        if self._codes[code] > 0:
            self._codes[code] -= 1
            raise _RefusedError("authorization_pending", 70016, "Pending end-user authorization.")
        if self.denied:
            raise _RefusedError("authorization_declined", 70021, "The user declined.")
        del self._codes[code]
        self.granted.append("device code")
        claims = {
            "iss": f"{authority}/v2.0",
            "aud": AZURE_CLI,
            "sub": "s",
            "oid": _USER,
            "tid": TENANT,
            "preferred_username": "ada@example.com",
            "iat": int(time.time()),
            "exp": int(time.time()) + 3600,
        }
        reply = {"token_type": "Bearer", "expires_in": 3599, "access_token": self.token, "scope": form.get("scope", "")}
        client_info = _base64(json.dumps({"uid": _USER, "utid": TENANT}).encode())
        return Answer(200, {**reply, "id_token": jwt.encode(claims, self.key, "RS256"), "client_info": client_info})


@contextmanager
def running(entra: Entra, tls: ssl.SSLContext) -> Iterator[Entra]:
    """Serve a directory on loopback."""
    with serve(entra.answer, tls) as port:
        entra.url = f"https://127.0.0.1:{port}"
        yield entra


def _configuration(authority: str) -> dict[str, str]:
    endpoints = {
        "token_endpoint": "token",
        "authorization_endpoint": "authorize",
        "device_authorization_endpoint": "devicecode",
    }
    return {
        **{name: f"{authority}/oauth2/v2.0/{path}" for name, path in endpoints.items()},
        "issuer": f"{authority}/v2.0",
    }


def _check_tenant(tenant: str) -> None:
    if tenant not in {TENANT, "organizations"}:
        raise _RefusedError("invalid_request", 90002, f"Tenant '{tenant}' not found.")


def _check_scope(form: dict[str, str]) -> None:
    if KUSTO not in form.get("scope", "").split():
        raise _RefusedError("invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid.")


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
