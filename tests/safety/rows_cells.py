"""Rows: cells and lines with a signature, a key or a password in the places in which commands and queries use them."""

from typing import Any

import kqlmi
from kqlmi.cluster.ingest import Ingestion
from kqlmi.model.entities import Scope
from kqlmi.model.uses import blobs
from kqlmi.notebook.completion import complete
from kqlmi.notebook.completion.matcher import _known
from kqlmi.notebook.panel.panel import Panel
from tests.safety.scene import DATA, Scene, echo, row
from tests.standins.serving import Request

SAMPLES = "database ['Samples'] policy managed_identity"


def grants(scene: Scene, usages: str = "ExternalTable, NativeIngestion") -> str:
    return f'[{{"ObjectId": "{scene.loader}", "AllowedUsages": "{usages}"}}]'


@row("print length = strlen(h'****')")
def a_hidden_literal_in_a_query_that_succeeds(scene: Scene) -> None:
    scene.connect()
    # Only its length is queried.
    scene.works(
        f"%%kqlmi\nlengths << \nprint length = strlen(h'{scene.secrets.password()}')".replace("\nlengths", " lengths")
    )
    scene.watch.value(scene.shell.user_ns["lengths"])
    scene.works("%%kqlmi\n.show queries | where Text has 'strlen' | project Text")


@row("ServiceError")
def a_signature_in_a_query_that_is_refused(scene: Scene) -> None:
    scene.connect()
    scene.fails(f"%%kqlmi\nexternaldata (a: string) [h'{DATA}/a.csv?{scene.secrets.sas()}']")
    scene.works("%kqlmi explain")
    scene.watch.value(scene.session.refusal)


@row("ServiceError")
def a_signature_that_is_not_hidden_in_a_query_that_is_refused(scene: Scene) -> None:
    scene.connect()
    scene.fails(f"%%kqlmi\nexternaldata (a: string) ['{DATA}/a.csv?{scene.secrets.sas()}'] | nonsense")
    scene.works("%kqlmi explain")
    scene.watch.value(scene.session.refusal)


@row("is neither an object ID nor")
def a_signature_after_an_identity_without_a_grant(scene: Scene) -> None:
    scene.connect()
    where = f"{DATA}/a.csv;managed_identity={scene.loader}?{scene.secrets.sas()}"
    scene.cell(f"%%kqlmi\nexternaldata (a: string) [h'{where}']")
    scene.cell(
        f"%%kqlmi\nexternaldata (a: string) ['{DATA}/a.csv?{scene.secrets.sas()};managed_identity={scene.loader}']"
    )
    scene.cell("%kqlmi explain")
    scene.cell(f"%%kqlmi check\nexternaldata (a: string) [h'{where}']")


@row("externaldata")
def signatures_keys_and_passwords_in_a_checked_text(scene: Scene) -> None:
    scene.connect()
    sas, key, password = scene.secrets.sas(), scene.secrets.key(), scene.secrets.password()
    for where in (
        f"{DATA}/a.csv?{sas}",
        f"{DATA}/a.csv;{key}",
        f"{DATA}/a.csv;managed_identity=loader?{sas}",
        f"{DATA}/a.csv;managed_identity=loader&AccountKey={key}",
        f"{DATA}%3F{sas};managed_identity=system",
        f"https://ada:{password}@acct.blob.core.windows.net/data;managed_identity=system",
        f"https://ada:x/{password}@acct.blob.core.windows.net/data;managed_identity=system",
    ):
        scene.works(f"%%kqlmi check\nexternaldata (a: string) [h'{where}']")
    server = f'Server=tcp:s;Password={password};Authentication="Active Directory Managed Identity";User Id=system'
    scene.works(f"%%kqlmi check\nevaluate sql_request('{server}', 'select 1')")
    scene.works(f"%%kqlmi check\nevaluate sql_request('Server=tcp:s;Pwd={password};User Id=ada', 'select 1')")
    scene.works(f"%%kqlmi check\n.ingest into table R (h'{DATA}/a.csv;token={scene.secrets.token()}')")


@row("ServiceError")
def a_password_in_a_query_of_an_sql_server(scene: Scene) -> None:
    scene.connect()
    server = f"Server=tcp:s.database.windows.net;Initial Catalog=c;User Id=ada;Password={scene.secrets.password()}"
    scene.fails(f"%%kqlmi\nevaluate sql_request('{server}', 'select 1')")
    scene.works("%kqlmi explain")


@row("SyntaxError")
def a_password_next_to_a_mistake(scene: Scene) -> None:
    scene.connect()
    for text in (
        "print h'{0}' ||| x",
        "print (h'{0}'",
        'print "{0}" + h"{0}',
        ".show tables h'{0}'",
        "R | where a == h'{0}' |",
    ):
        scene.fails(f"%%kqlmi\n{text.format(f'Password={scene.secrets.password()}')}")


@row("The cell contains two commands")
def a_signature_in_the_second_of_two_commands(scene: Scene) -> None:
    scene.connect()
    into = f".ingest into table R (h'{DATA}/a.csv?{scene.secrets.sas()}')"
    scene.fails(f"%%kqlmi\n.show tables\n{into}")
    scene.fails(f"%%kqlmi\n.show tables\n.set T <| print h'{scene.secrets.password()}'")
    scene.fails(f"%%kqlmi\n.drop table h'{scene.secrets.password()}'\n.show tables")


def _repeat(request: Request) -> str:
    """Return a message that repeats a request, including its headers."""
    return f"Cannot do {request.body.decode()} for {dict(request.headers)}"


@row("Cannot do")
def an_error_that_repeats_the_text_and_the_token(scene: Scene) -> None:
    secrets = scene.secrets
    text = (
        f"externaldata (a: string) ['{DATA}/a.csv?{secrets.sas()}', '{DATA};{secrets.key()}', h'{secrets.password()}']"
        f" | where a == 'Password={secrets.password()}' and b == 'AccountKey={secrets.key()}'"
    )
    for status in (400, 401, 403, 404, 429, 500):
        with (
            echo(status, _repeat) as url,
            kqlmi.connect(url, token=secrets.token(), history=False) as session,
        ):
            scene.call(session.run, text)
            scene.call(session.run, f".show tables | where x == h'{secrets.password()}'")
            scene.watch.value(session.refusal)


@row("Cannot do")
def an_error_in_the_last_frame_of_an_answer(scene: Scene) -> None:
    def late(request: Request) -> Any:
        fault = {"error": {"code": "LimitsExceeded", "@message": _repeat(request), "@type": "T"}}
        return [{"FrameType": "DataSetCompletion", "HasErrors": True, "OneApiErrors": [fault]}]

    with (
        echo(200, late) as url,
        kqlmi.connect(url, token=scene.secrets.password(), history=False) as session,
    ):
        scene.call(session.run, f"print h'{scene.secrets.password()}'")


@row("is not from Kusto, or is incomplete")
def an_incomplete_answer_that_repeats_the_token(scene: Scene) -> None:
    with (
        echo(200, lambda request: {"headers": dict(request.headers)}) as url,
        kqlmi.connect(url, token=scene.secrets.password(), history=False) as session,
    ):
        scene.call(session.run, f"print h'{scene.secrets.password()}'")


@row("status 502")
def the_page_of_a_proxy_that_repeats_the_token(scene: Scene) -> None:
    def page(request: Request) -> bytes:
        return f"<html><body>Bad gateway: {dict(request.headers)} {request.body.decode()}</body></html>".encode()

    def plain(request: Request) -> bytes:
        return f"Bad gateway: {dict(request.headers)} {request.body.decode()}".encode()

    for says, content in ((page, "text/html"), (plain, "text/plain")):
        with (
            echo(502, says, content) as url,
            kqlmi.connect(url, token=scene.secrets.password(), history=False) as session,
        ):
            scene.call(session.run, f"print h'{scene.secrets.password()}'")


@row("applied")
def a_policy_command_that_is_recorded(scene: Scene) -> None:
    secrets = scene.secrets
    session = scene.connect()
    comment = f"// from {DATA}?{secrets.sas()} with {secrets.password()}\n"
    scene.works(f"%%kqlmi\n{comment}.alter {SAMPLES} h'{grants(scene)}' // {secrets.key()}")
    scene.works(f"%%kqlmi\n.alter-merge {SAMPLES} {comment} '{grants(scene, 'AzureAI')}'")
    scene.works("%kqlmi history")
    reading = session.recorded()
    scene.watch.value(reading)
    assert [one.outcome for one in reading.entries][-2:] == ["applied", "applied"]
    scene.works("%kqlmi undo")
    scene.works(f"%kqlmi apply {next(iter(session.plans))} --revoke")


@row("not applied")
def a_policy_command_that_is_refused_and_recorded(scene: Scene) -> None:
    session = scene.connect()
    broken = f'[{{"ObjectId": "{scene.loader}", "AccountKey": "{scene.secrets.key()}" "AllowedUsages": "All"}}]'
    scene.fails(f"%%kqlmi\n.alter {SAMPLES} '{broken}' // Password={scene.secrets.password()}")
    inside = f'[{{"ObjectId": "{scene.loader}", "AccountKey": "{scene.secrets.key()[:44]}\n{scene.secrets.key()}"}}]'
    scene.fails(f"%%kqlmi\n.alter {SAMPLES} ```{inside}```")
    wrong = f'[{{"ObjectId": "Password={scene.secrets.password()}", "AllowedUsages": "All"}}]'
    scene.fails(f"%%kqlmi\n.alter {SAMPLES} h'{wrong}'")
    scene.works("%kqlmi history")
    scene.watch.value(session.recorded())


@row("is read-only")
def a_signature_in_a_command_that_may_not_be_sent(scene: Scene) -> None:
    scene.connect("--read-only")
    scene.fails(f"%%kqlmi\n.ingest into table R (h'{DATA}/a.csv?{scene.secrets.sas()}')")
    scene.fails(f"%kqlmi ingest '{DATA}/a.csv?{scene.secrets.sas()}' into R --identity loader")


@row("contains a query string or credentials")
def a_signature_or_a_key_in_a_blob_to_ingest(scene: Scene) -> None:
    scene.connect(f"--ingest-url {scene.cluster.ingest_url}")
    for uri in (
        f"{DATA}/a.csv?{scene.secrets.sas()}",
        f"{DATA}/a.csv;{scene.secrets.key()}",
        f"{DATA}/a.csv%3F{scene.secrets.sas()}",
        f"{DATA}/a.csv;managed_identity=system;{scene.secrets.key()}",
        f"https://ada:{scene.secrets.password()}@acct.blob.core.windows.net/data/a.csv",
    ):
        scene.fails(f"%kqlmi ingest '{uri}' into R --identity loader")
        scene.fails(f"%kqlmi ingest R into '{uri}' --identity loader")
        scene.fails(f"%kqlmi ingest '{uri}' --identity loader")
        scene.fails(f"%kqlmi ingest {DATA}/a.csv into R --identity '{uri}' --wait 1")
        scene.fails(f"%kqlmi ingest {DATA}/a.csv into R --identity loader --wait '{uri}'")
        scene.fails(f"%kqlmi ingest {DATA}/a.csv into R --identity loader --format '{uri}'")


@row("Ingested into Samples.R")
def the_signatures_of_the_queues_of_a_cluster(scene: Scene) -> None:
    scene.connect(f"--ingest-url {scene.cluster.ingest_url}")
    scene.works(f"%kqlmi ingest {DATA}/a.csv into R --identity loader --wait 20")
    scene.watch.value(scene.session.ingest(f"{DATA}/a.csv", "R", identity="loader", wait=0))


@row("refused the message")
def the_signature_of_a_queue_that_refuses(scene: Scene) -> None:
    scene.connect(f"--ingest-url {scene.cluster.ingest_url}")
    for url in (f"{scene.cluster.ingest_url}/kqlmi-ingest", "http://127.0.0.1:1/q"):
        elsewhere = {"SecuredReadyForAggregationQueue": [f"{url}?{scene.secrets.sas()}"]}
        scene.patch.setattr(scene.cluster._state, "elsewhere", elsewhere)
        scene.fails(f"%kqlmi ingest {DATA}/a.csv into R --identity loader --wait 1")


@row("Download_Forbidden")
def a_report_of_an_ingestion_that_shows_a_signature(scene: Scene) -> None:
    order = Ingestion(blobs.blob(f"{DATA}/a.csv"), "Samples", "R", "id")
    report = {"ErrorCode": "Download_Forbidden", "Details": f"Cannot read {DATA}/a.csv?{scene.secrets.sas()}"}
    scene.watch.value(order.reported("failed", report))


@row("must not contain a query string or credentials")
def a_signature_or_a_key_in_a_template(scene: Scene) -> None:
    scene.connect()
    sas, key = scene.secrets.sas(), scene.secrets.key()
    for uri in (f"{DATA}?{sas}", f"{DATA};{key}", f"{DATA}/%3F{sas}", f"{DATA}/x&{sas}", f"https://a:{key}@h/c"):
        scene.fails(f"%kqlmi new externaldata --identity loader --uri '{uri}'")
        scene.fails(f"%kqlmi new ai_chat_completion --identity loader --uri '{uri}'")
        scene.fails(f"%kqlmi new '{uri}'")
        scene.fails(f"%kqlmi new ingest.into --identity '{uri}' --uri {DATA} --table R")
    model = f"https://m.openai.azure.com/x?api-version=1&api-key={scene.secrets.password()}"
    scene.fails(f"%kqlmi new ai_embeddings --identity loader --uri '{model}'")


@row("contains a character that is not allowed in a connection string")
def a_password_in_the_server_of_a_template(scene: Scene) -> None:
    scene.connect()
    server = f"s.database.windows.net;User Id=ada;Password={scene.secrets.password()}"
    more = "--catalog c --table t --schema 'a: string' --name T"
    scene.fails(f"%kqlmi new external_table.sql --identity loader --server '{server}' {more}")
    scene.fails(
        f"%kqlmi new external_table.sql --identity loader --server s --catalog c --table t --name T --schema 'a: {server}'"
    )


@row("['Samples']")
def completions_next_to_a_signature(scene: Scene) -> None:
    scene.connect()
    magics: Any = scene.shell.magics_manager.registry["KqlMagics"]
    scene.configure(f'[connections.prod]\ncluster = "mycluster.westeurope"\ntoken = "{scene.secrets.token()}"\n')
    sas = scene.secrets.sas()
    for text in (
        f"%%kqlmi\nexternaldata (a: string) [h'{DATA}?{sas}'] // .show ",
        f"%%kqlmi\n// {DATA}?{sas}\n.show database ",
        f"%kqlmi ingest '{DATA}?{sas}' --",
        "%kqlmi connect ",
    ):
        offers = complete(text, "", _known(magics.sessions))
        # Text that was typed may be repeated, because it is the user's own.
        scene.watch.see("offer", *(one for one in offers.candidates if sas not in one.text))


@row("is neither a GUID nor the word system")
def a_key_in_the_box_for_an_identity(scene: Scene) -> None:
    panel: Any = Panel(scene.connect(), Scope.cluster())
    try:
        key = scene.secrets.key()
        panel.request = {"id": "p-1", "action": "hello"}
        panel.request = {"id": "p-2", "after": "p-1", "since": 0, "action": "add", "identity": f"AccountKey={key}"}
        scene.watch.see("panel", panel.status)
        # The request itself is what the user typed.
        panel.set_trait("request", {"id": "p-3", "after": "p-2", "since": 0, "action": "dismiss"})
        scene.watch.see("panel", panel.get_state())
        scene.watch.value(panel)
    finally:
        panel.close()


@row("Orphans cannot be determined")
def a_panel_whose_resource_manager_repeats_its_token(scene: Scene) -> None:
    with echo(403, lambda request: {"error": {"code": "Denied", "message": f"{dict(request.headers)}"}}) as url:
        options = {**scene.cluster.arm_options, "base_url": url}
        with kqlmi.connect(
            scene.cluster.url,
            token=scene.cluster.token,
            resource_id=scene.cluster.resource_id,
            arm_options=options,
            name="test",
        ) as session:
            scene.call(session.assigned)
            scene.watch.value(session.resource)
            panel: Any = Panel(session, Scope.cluster())
            try:
                panel.read_more()
                scene.watch.see("panel", panel.get_state())
                scene.watch.value(panel)
            finally:
                panel.close()


@row("Azure Resource Manager did not")
def lines_that_a_resource_manager_refuses_with_its_token(scene: Scene) -> None:
    magics: Any = scene.shell.magics_manager.registry["KqlMagics"]
    for status in (401, 403, 404, 409, 500):
        with echo(status, lambda request: {"error": {"code": "Denied", "message": f"{dict(request.headers)}"}}) as url:
            magics.sessions.add(
                kqlmi.connect(
                    scene.cluster.url,
                    token=scene.cluster.token,
                    resource_id=scene.cluster.resource_id,
                    arm_options={**scene.cluster.arm_options, "base_url": url, "retry_total": 0},
                    name="test",
                )
            )
            for line in ("identities", "assign idle", "unassign idle", "unassign system", "dataconnections"):
                scene.cell(f"%kqlmi {line}")
