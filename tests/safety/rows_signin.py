"""Rows: the ways to sign in, successful or refused by an authority that repeats what it is sent."""

import time
from typing import Any

from azure.core.credentials import AccessToken

import kqlmi
from tests.safety.scene import Scene, echo, row
from tests.standins import machine
from tests.standins.entra import Entra
from tests.standins.machine import AzureCli, Machine
from tests.standins.serving import Answer, Request, serve


@row("kqlmi local admin")
def a_client_secret_that_is_right(scene: Scene) -> None:
    scene.application(scene.directory.secret)
    scene.signs_in("service-principal")


@row("AADSTS7000215")
def a_client_secret_that_is_wrong_and_repeated(scene: Scene) -> None:
    scene.directory.echo = True
    scene.application(scene.secrets.client_secret())
    scene.is_refused("service-principal")


@row("Environment was refused")
def a_client_secret_in_the_chain_of_the_default(scene: Scene) -> None:
    scene.directory.echo = True
    scene.application(scene.secrets.password())
    scene.is_refused("default")


@row("ConnectionFailedError")
def a_client_secret_and_a_cluster_without_an_authority(scene: Scene) -> None:
    scene.application(scene.secrets.client_secret())
    with serve(lambda request: Answer(200, f"{dict(request.headers)}".encode())) as port:
        scene.fails(f"%kqlmi connect http://127.0.0.1:{port} --auth service-principal")


@row("is not a known authority")
def an_authority_whose_address_contains_a_password(scene: Scene) -> None:
    scene.application(scene.secrets.client_secret())
    with scene.endpoint() as running:
        running.login_endpoint = f"https://user:{scene.secrets.password()}@login.example"
        scene.fails(f"%kqlmi connect {running.url} --auth service-principal")


@row("kqlmi local admin")
def a_certificate_with_its_password(scene: Scene) -> None:
    password = scene.secrets.password()
    scene.application()
    file = scene.directory.write_certificate(scene.given / "certificate.pem", password)
    scene.patch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(file))
    scene.patch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", password)
    scene.signs_in("service-principal")


@row("Signing in with service-principal failed")
def a_certificate_with_a_wrong_password(scene: Scene) -> None:
    scene.application()
    file = Entra("").write_certificate(scene.given / "certificate.pem", scene.secrets.password())
    scene.patch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(file))
    scene.patch.setenv("AZURE_CLIENT_CERTIFICATE_PASSWORD", scene.secrets.password())
    scene.is_refused("service-principal")


@row("Signing in with service-principal failed")
def a_certificate_file_that_is_broken(scene: Scene) -> None:
    scene.application()
    file = scene.given / "certificate.pem"
    file.write_text(f"-----BEGIN PRIVATE KEY-----\n{scene.secrets.key()}\n")
    scene.patch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(file))
    scene.is_refused("service-principal")


@row("AADSTS700027")
def the_assertion_of_a_certificate_that_is_refused_and_repeated(scene: Scene) -> None:
    scene.directory.echo = True
    scene.application()
    file = Entra("").write_certificate(scene.given / "certificate.pem")
    scene.patch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", str(file))
    error = scene.is_refused("service-principal")
    assert "ey" not in str(error).partition("client_assertion")[2][:40]


@row("kqlmi local admin")
def the_token_of_a_workload_identity(scene: Scene) -> None:
    scene.application()
    token = scene.secrets.plant(scene.directory.federated())
    (scene.given / "token").write_text(token)
    scene.patch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(scene.given / "token"))
    scene.signs_in("workload-identity")


@row("AADSTS700027")
def the_token_of_a_workload_identity_that_is_refused_and_repeated(scene: Scene) -> None:
    scene.directory.echo = True
    scene.application()
    (scene.given / "token").write_text(scene.secrets.token())
    scene.patch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(scene.given / "token"))
    scene.is_refused("workload-identity")


@row("enter the code KQL5MI7AB")
def the_answer_to_a_device_code(scene: Scene) -> None:
    scene.directory.pending = 1
    plant = _planting(scene)
    scene.patch.setattr(scene.directory, "_codes", plant)
    scene.signs_in("device-code")


@row("declined")
def a_device_code_that_is_declined_and_repeated(scene: Scene) -> None:
    scene.directory.denied = scene.directory.echo = True
    scene.patch.setattr(scene.directory, "_codes", _planting(scene))
    scene.is_refused("device-code")


def _planting(scene: Scene) -> dict[str, int]:
    """Return a dictionary of device codes that plants each code as a secret."""

    class Codes(dict[str, int]):
        def __setitem__(self, code: str, left: int) -> None:
            if code not in self:
                scene.secrets.plant(code)
            super().__setitem__(code, left)

    return Codes()


@row("kqlmi local admin")
def the_answer_of_the_azure_cli(scene: Scene) -> None:
    AzureCli(scene.folder / "bin", scene.directory.token)
    scene.signs_in("azure-cli")


@row("Signing in with azure-cli failed")
def the_error_of_the_azure_cli(scene: Scene) -> None:
    message = f"AADSTS1: the refresh_token={scene.secrets.password()} of {scene.secrets.token()} is not valid."
    AzureCli(scene.folder / "bin", "").say("", error=message)
    scene.is_refused("azure-cli")


@row("Signing in with azure-cli failed")
def an_answer_of_the_azure_cli_that_is_broken(scene: Scene) -> None:
    AzureCli(scene.folder / "bin", "").say(f'{{"accessToken": "{scene.secrets.password()}", "expiresOn": "never"}}')
    scene.is_refused("azure-cli")


@row("kqlmi local admin")
def the_header_of_app_service(scene: Scene) -> None:
    with machine.app_service(Machine(scene.directory.token)) as running:
        scene.patch.setenv("IDENTITY_ENDPOINT", running.url)
        scene.patch.setenv("IDENTITY_HEADER", scene.secrets.plant(running.header))
        scene.signs_in("managed-identity")


class _Repeating(Machine):
    """A machine whose refusal repeats the headers that it was sent."""

    def app_service(self, request: Request) -> Answer:
        return Answer(401, {"statusCode": 401, "message": f"You sent {dict(request.headers)}."})


@row("Signing in with managed-identity failed")
def the_header_of_app_service_that_is_refused_and_repeated(scene: Scene) -> None:
    with machine.app_service(_Repeating("")) as running:
        scene.patch.setenv("IDENTITY_ENDPOINT", running.url)
        scene.patch.setenv("IDENTITY_HEADER", scene.secrets.password())
        scene.is_refused("managed-identity")


@row("kqlmi local admin")
def the_identity_of_a_virtual_machine(scene: Scene) -> None:
    with machine.imds(Machine(scene.directory.token)) as running:
        scene.patch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", running.url)
        scene.signs_in("managed-identity")


@row("kqlmi local admin")
def a_token_from_the_environment(scene: Scene) -> None:
    scene.patch.setenv("KQLMI_TOKEN", scene.cluster.token)
    scene.signs_in("token")


@row("UnauthorizedError")
def a_token_from_the_environment_that_is_not_accepted(scene: Scene) -> None:
    scene.patch.setenv("KQLMI_TOKEN", scene.secrets.token())
    scene.is_refused("token")


@row("<Session on mine: ")
def a_token_passed_from_python(scene: Scene) -> None:
    with kqlmi.connect(scene.cluster.url, token=scene.cluster.token, name="mine") as session:
        for one in (session, session.target, session.connection, session.whoami(), session.recorded()):
            scene.watch.value(one)


@row("not allowed in an HTTP header")
def a_token_that_does_not_fit_in_a_header(scene: Scene) -> None:
    scene.call(kqlmi.connect, scene.cluster.url, token=f"{scene.secrets.password()}\n{scene.secrets.password()}")


@row("does not accept --tenant")
def a_token_next_to_an_option_without_effect(scene: Scene) -> None:
    scene.patch.setenv("KQLMI_TOKEN", scene.secrets.token())
    scene.is_refused("token", "--tenant contoso.com")


@row("over plain http")
def a_token_for_a_cluster_without_https(scene: Scene) -> None:
    scene.call(kqlmi.connect, "http://mycluster.westeurope.kusto.windows.net", token=scene.secrets.token())


class _Own:
    """A user-defined credential whose repr and error reveal secrets."""

    def __init__(self, token: str, error: str = "") -> None:
        self.token, self.error = token, error

    def __repr__(self) -> str:
        return f"Own({self.token!r})"

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        if self.error:
            raise RuntimeError(f"It failed with client_secret={self.error}") from ValueError(self.error)
        return AccessToken(self.token, int(time.time()) + 3600)


@row("<credential by _Own>")
def a_credential_whose_repr_shows_its_token(scene: Scene) -> None:
    with kqlmi.connect(scene.cluster.url, credential=_Own(scene.cluster.token), name="mine") as session:
        session.databases()
        target: Any = session.target
        for one in (session, target, target.sign_in, target.sign_in.credential):
            scene.watch.value(one)


@row("Signing in with _Own failed")
def a_credential_whose_error_and_cause_show_its_secret(scene: Scene) -> None:
    own = _Own("", scene.secrets.client_secret())
    with kqlmi.connect(scene.cluster.url, credential=own) as session:
        scene.call(session.databases)


@row("UnauthorizedError")
def a_token_of_a_credential_that_a_cluster_repeats(scene: Scene) -> None:
    own = _Own(scene.secrets.password())
    with (
        echo(401, lambda request: f"The token in {dict(request.headers)} is not valid") as url,
        kqlmi.connect(url, credential=own) as session,
    ):
        scene.call(session.databases)
