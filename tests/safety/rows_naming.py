"""Rows: secrets that are typed in a wrong place, or that are in the configuration or the environment."""

import kqlmi
from tests.safety.scene import DATA, Scene, row


@row("not the URL of a cluster")
def a_url_with_a_user_and_a_password(scene: Scene) -> None:
    scene.fails(f"%kqlmi connect https://ada:{scene.secrets.password()}@mycluster.westeurope.kusto.windows.net")


@row("not the URL of a cluster")
def a_url_with_a_signature(scene: Scene) -> None:
    scene.fails(f"%kqlmi connect https://mycluster.westeurope.kusto.windows.net/?{scene.secrets.sas()}")


@row("not the URL of a cluster")
def a_connection_string_instead_of_a_url(scene: Scene) -> None:
    where = "https://mycluster.westeurope.kusto.windows.net"
    scene.fails(f"%kqlmi connect 'Data Source={where};AppClientId=a;AppKey={scene.secrets.client_secret()}'")


@row("is not a known option of")
def a_token_as_an_unknown_option(scene: Scene) -> None:
    scene.fails(f"%kqlmi connect local --token={scene.secrets.token()}")
    scene.fails(f"%kqlmi connect local --token {scene.secrets.password()}")


@row("--auth does not accept this value")
def a_secret_instead_of_a_mode(scene: Scene) -> None:
    scene.fails(f"%kqlmi connect {scene.cluster.url} --auth {scene.secrets.client_secret()}")
    scene.fails(f"%kqlmi connect {scene.cluster.url} --auth {scene.secrets.password()}")


@row("does not specify a managed identity")
def a_secret_instead_of_an_identity(scene: Scene) -> None:
    identity = f"client_secret={scene.secrets.client_secret()}"
    scene.fails(f"%kqlmi connect {scene.cluster.url} --auth managed-identity --sign-in-identity {identity}")


@row("is not the ID or domain of a tenant")
def a_secret_instead_of_a_tenant(scene: Scene) -> None:
    scene.fails(f"%kqlmi connect {scene.cluster.url} --auth azure-cli --tenant AccountKey={scene.secrets.key()}")


@row("not the URL of a cluster")
def a_signature_at_the_ingestion_endpoint(scene: Scene) -> None:
    scene.patch.setenv("KQLMI_TOKEN", scene.cluster.token)
    ingest = f"{scene.cluster.ingest_url}/?{scene.secrets.sas()}"
    scene.fails(f"%kqlmi connect {scene.cluster.url} --auth token --ingest-url '{ingest}'")


@row("is not the resource ID of a cluster")
def a_signature_in_a_resource_id(scene: Scene) -> None:
    options = scene.cluster.arm_options
    scene.watch.value(options)
    wrong = f"https://management.azure.com/subscriptions/x?{scene.secrets.sas()}"
    scene.call(kqlmi.connect, scene.cluster.url, auth="none", resource_id=wrong, arm_options=options)


@row("has an unknown key")
def a_wrong_key_of_the_configuration_file(scene: Scene) -> None:
    scene.configure(
        f'[connections.prod]\ncluster = "mycluster.westeurope"\nclient_secret = "{scene.secrets.client_secret()}"\n'
    )
    scene.fails("%kqlmi connect prod")
    scene.cell("%kqlmi connections")


@row("is not valid TOML")
def a_configuration_file_that_is_broken(scene: Scene) -> None:
    scene.configure(f"[connections.prod]\ncluster = https://c/?{scene.secrets.sas()}\n")
    scene.fails("%kqlmi connect prod")


@row("to something other than a bool")
def a_value_of_the_configuration_file_of_another_type(scene: Scene) -> None:
    scene.configure(f'[connections.prod]\ncluster = "mycluster.westeurope"\nread_only = "{scene.secrets.password()}"\n')
    scene.fails("%kqlmi connect prod")


@row("to something other than a URL or short name")
def a_password_in_a_url_of_the_configuration_file(scene: Scene) -> None:
    scene.configure(f'[connections.prod]\ncluster = "https://ada:{scene.secrets.password()}@mycluster.westeurope"\n')
    scene.cell("%kqlmi connections")
    scene.fails("%kqlmi connect prod")


@row("to an unknown sign-in mode")
def a_token_as_the_mode_of_the_configuration_file(scene: Scene) -> None:
    scene.configure(f'[connections.prod]\ncluster = "mycluster.westeurope"\nauth = "{scene.secrets.token()}"\n')
    scene.cell("%kqlmi connections")
    scene.fails("%kqlmi connect prod")


@row("not the URL of a cluster")
def a_connection_string_in_the_environment(scene: Scene) -> None:
    scene.patch.setenv("KQLMI_CLUSTER", f"https://c.kusto.windows.net;Application Key={scene.secrets.password()}")
    scene.fails("%kqlmi connect")


@row("Unknown sign-in mode")
def a_token_as_the_mode_of_the_environment(scene: Scene) -> None:
    scene.patch.setenv("KQLMI_AUTH", scene.secrets.password())
    scene.fails(f"%kqlmi connect {scene.cluster.url}")


@row("AZURE_CLIENT_ID is not a client ID")
def a_secret_instead_of_the_environments_client_id(scene: Scene) -> None:
    scene.patch.setenv("AZURE_CLIENT_ID", scene.secrets.password())
    scene.fails(f"%kqlmi connect {scene.cluster.url} --auth managed-identity")


@row("ConnectionFailedError")
def the_password_of_a_proxy(scene: Scene) -> None:
    scene.patch.setenv("HTTPS_PROXY", f"http://ada:{scene.secrets.password()}@127.0.0.1:9")
    scene.patch.setenv("KQLMI_TOKEN", scene.secrets.token())
    scene.fails("%kqlmi connect https://mycluster.westeurope.kusto.windows.net --auth token")


@row("ConnectionFailedError")
def the_password_of_a_proxy_whose_address_cannot_be_read(scene: Scene) -> None:
    scene.patch.setenv("HTTPS_PROXY", f"http://ada:{scene.secrets.password()}@[127.0.0.1:9")
    scene.patch.setenv("KQLMI_TOKEN", scene.secrets.token())
    scene.fails("%kqlmi connect https://mycluster.westeurope.kusto.windows.net --auth token")


@row("Argument 1 is not a known subcommand")
def an_address_with_a_signature_instead_of_a_subcommand(scene: Scene) -> None:
    scene.fails(f"%kqlmi {DATA}?{scene.secrets.sas()}")


@row("is not allowed on the first line of a cell")
def a_signature_on_the_first_line_of_a_cell(scene: Scene) -> None:
    scene.fails(f"%%kqlmi externaldata(a:string)[h'{DATA}?{scene.secrets.sas()}']\nprint 1")


@row("A quote on the line is not closed")
def a_password_in_a_line_whose_quote_is_not_closed(scene: Scene) -> None:
    scene.fails(f"%kqlmi connect 'Server=s;Password={scene.secrets.password()}")


@row("is not a known option of")
def a_token_on_the_command_line(scene: Scene) -> None:
    scene.line("plan", "policy.yaml", "--on", scene.cluster.url, "--token", scene.secrets.token())
    scene.line("plan", "policy.yaml", f"--token={scene.secrets.password()}")


@row("--auth does not accept this value")
def a_secret_instead_of_a_mode_on_the_command_line(scene: Scene) -> None:
    scene.line("plan", "policy.yaml", "--auth", scene.secrets.client_secret())
    scene.line(scene.secrets.password())
    scene.line("local", "serve", "--port", scene.secrets.password())


@row("not the URL of a cluster")
def a_url_with_a_password_on_the_command_line(scene: Scene) -> None:
    cluster = f"https://ada:{scene.secrets.password()}@mycluster.westeurope.kusto.windows.net"
    scene.line("export", "policy.yaml", "--on", cluster)


@row("Line 2: ")
def a_policy_file_with_a_secret_and_a_mistake(scene: Scene) -> None:
    scene.connect()
    file = scene.given / "policy.yaml"
    file.write_text(f"kqlmi: 1\nAccountKey: {scene.secrets.key()}\n")
    scene.fails(f"%kqlmi plan {file}")
    file.write_text(f"kqlmi: 1\nscopes: {{ cluster: [Password={scene.secrets.password()}\n")
    scene.fails(f"%kqlmi plan {file}")


@row("is neither the ID of a plan that was shown nor a readable file")
def a_signature_instead_of_a_plan(scene: Scene) -> None:
    scene.connect()
    for line in ("plan", "apply", "undo", "audit"):
        scene.fails(f"%kqlmi {line} '{DATA}?{scene.secrets.sas()}'")
