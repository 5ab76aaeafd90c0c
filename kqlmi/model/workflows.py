"""The catalogue of workflows: every flow that can authenticate with a managed identity, one row each."""

from dataclasses import dataclass

from kqlmi.model.usages import USAGES


@dataclass(frozen=True, slots=True)
class Workflow:
    """One flow of the service that supports managed identities.

    ``identity`` is the flow's syntax for the identity, ``kusto`` the role of the caller, and ``external`` the role of
    the identity; the defaults are those of a query that reads storage. ``caller`` is the narrowest role that suffices for
    the command of the flow's template, as an entity and the role's name in commands, or empty for a role in Azure;
    ``plugin`` is the plugin that must be enabled. ``sure`` is ``documented``, or ``inferred`` if
    the documentation does not state the usage. ``callout`` is the callout policy type that must also allow the target.
    Source: the pages of the Azure Data Explorer documentation in ``doc`` (file and line in
    MicrosoftDocs/dataexplorer-docs).
    """

    id: str
    title: str
    usage: str
    example: str
    doc: str
    identity: str = ";managed_identity=system|<objectId>"
    kusto: str = "Viewer"
    external: str = "Storage Blob Data Reader"
    sure: str = "documented"
    caller: str = "database viewers"
    plugin: str = ""
    callout: str = ""
    required_when: str = ""
    note: str = ""

    @property
    def cluster_only(self) -> bool:
        """Check whether its usage has no effect in a database's policy."""
        return any(row.cluster_only for row in USAGES if row.name == self.usage)

    @property
    def reads_as_identity(self) -> bool:
        """Check whether the identity itself needs to be a viewer of the databases that the flow reads."""
        return "the identity itself" in self.kusto


WORKFLOWS: tuple[Workflow, ...] = (
    Workflow(
        id="external_table.storage",
        title="External table on Azure Storage",
        usage="ExternalTable",
        caller="database users",
        kusto="create: Database User; alter: Table Admin; create-or-alter with an identity: AllDatabasesAdmin; query: Viewer",
        external="read: Storage Blob Data Reader; write: Storage Blob Data Contributor",
        example=".create-or-alter external table T (x:int) kind=storage dataformat=csv (h@'https://acct.blob.core.windows.net/c;managed_identity=system')",
        doc="external-tables-managed-identities.md:41; kusto/management/external-tables-azure-storage.md:23",
        callout="external_data",
    ),
    Workflow(
        id="external_table.delta",
        title="External table on Delta Lake",
        usage="ExternalTable",
        caller="database users",
        kusto="as on Azure Storage (create-or-alter with an identity: AllDatabasesAdmin); creation reads the storage, so grant first",
        external="read: Storage Blob Data Reader; write: Storage Blob Data Contributor",
        example=".create-or-alter external table D kind=delta (h@'abfss://fs@acct.dfs.core.windows.net/t;managed_identity=<objectId>')",
        doc="kusto/management/external-tables-delta-lake.md:24",
        callout="external_data",
    ),
    Workflow(
        id="external_table.sql",
        title="External table on SQL Server",
        usage="ExternalTable",
        caller="database admins",
        identity='Authentication="Active Directory Managed Identity"[;User Id=<objectId>]',
        kusto="Database Admin to create or alter with an identity",
        external="SQL SELECT to read; CREATE, UPDATE and INSERT to write",
        example=".create external table S (x:int) kind=sql table=T (h@'Server=tcp:s.database.windows.net,1433;Authentication=\"Active Directory Managed Identity\";User Id=<objectId>;Initial Catalog=db;')",
        doc="kusto/management/external-sql-tables.md:31; kusto/api/connection-strings/sql-connection-strings.md",
        note="SQL Server and Cosmos DB only: MySQL and PostgreSQL do not support managed identities",
    ),
    Workflow(
        id="external_table.cosmosdb",
        title="External table on Azure Cosmos DB",
        usage="ExternalTable",
        caller="database admins",
        identity='Authentication="Active Directory Managed Identity"[;User Id=<objectId>]',
        kusto="Database Admin",
        external="Cosmos DB data-plane read role",
        example=".create external table C (x:int) kind=sql (h@'AccountEndpoint=https://a.documents.azure.com:443/;Database=d;Collection=c;Authentication=\"Active Directory Managed Identity\";') with (sqlDialect='CosmosDbSQL')",
        doc="external-tables-managed-identities.md:145-186",
    ),
    Workflow(
        id="export.to_external_table",
        title="Export to an external table",
        usage="ExternalTable",
        caller="external table admins",
        identity="specified in the external table",
        kusto="Table Admin",
        external="Storage Blob Data Contributor on the storage of the external table",
        example=".export to table T <| MyTable",
        doc="kusto/management/data-export/export-data-to-an-external-table.md:16; kusto/management/delete-managed-identity-policy-command.md:16",
        callout="external_data",
    ),
    Workflow(
        id="continuous_export",
        title="Continuous export",
        usage="AutomatedFlows",
        caller="database admins",
        identity='with (managedIdentity="system"|<objectId>)',
        kusto="Database Admin to create; the identity itself: Database Viewer on every database used (aadapp=<objectId>;<tenantId>)",
        external="Storage Blob Data Contributor, if the external table uses ;impersonate",
        example='.create-or-alter continuous-export E over (T) to table X with (managedIdentity="system", intervalBetweenRuns=5m) <| T',
        doc="kusto/management/data-export/continuous-export-with-managed-identity.md; create-alter-continuous.md:53",
        required_when="the external table uses ;impersonate | the query reads another database | the source has row-level security",
        note="also ExternalTable, if the external table itself uses managed_identity= (inferred)",
    ),
    Workflow(
        id="update_policy",
        title="Update policy",
        usage="AutomatedFlows",
        caller="table admins",
        identity='"ManagedIdentity":"system"|"<objectId>"',
        kusto="Table Admin to alter (AllDatabasesAdmin in the how-to guide); the identity itself: Database Viewer on referenced databases",
        external="read role, if the query references an accelerated external table that uses ;impersonate",
        example='.alter table T policy update @\'[{"IsEnabled":true,"Source":"S","Query":"F()","IsTransactional":false,"ManagedIdentity":"system"}]\'',
        doc="kusto/management/update-policy-with-managed-identity.md",
        required_when="the query reads another database | the source has row-level security | the query reads an accelerated external table that uses ;impersonate (Hot >= 100 years)",
    ),
    Workflow(
        id="query_acceleration",
        title="Query acceleration policy",
        usage="AutomatedFlows",
        caller="database admins",
        identity='"ManagedIdentity":"<objectId>"',
        kusto="Database Admin",
        external="Storage Blob Data Reader on the Delta table (all artifacts)",
        example='.alter external table D policy query_acceleration \'{"IsEnabled":true,"Hot":"1.00:00:00","ManagedIdentity":"<objectId>"}\'',
        doc="kusto/management/alter-query-acceleration-policy-command.md:57; managed-identities-overview.md:65",
        required_when="the external table uses ;impersonate",
    ),
    Workflow(
        id="export.to_storage",
        title="Export to storage",
        usage="ExportRequest",
        kusto="Database Viewer",
        external="Storage Blob Data Contributor (ADLS Gen1: Contributor)",
        example=".export to csv (h@'https://acct.blob.core.windows.net/c;managed_identity=system') <| T",
        doc="kusto/management/data-export/export-data-to-storage.md:71; kusto/management/managed-identity-policy.md:61",
        note="the example follows from the syntax: the documentation shows none with a managed identity",
    ),
    Workflow(
        id="ingest.into",
        title="Ingestion from storage (.ingest into)",
        usage="NativeIngestion",
        caller="table ingestors",
        sure="inferred",
        kusto="Table Ingestor",
        external="Storage Blob Data Reader (ADLS Gen1: Reader)",
        example=".ingest into table T ('https://acct.blob.core.windows.net/c/f.csv;managed_identity=<objectId>')",
        doc="kusto/management/data-ingestion/ingest-into-command.md:57,93",
        note="conflict: ingest-data-managed-identity.md:16 states that inline or direct ingestion does not support managed identities",
    ),
    Workflow(
        id="ingest.queued_cmd",
        title="Ingestion from storage, queued by a command",
        usage="NativeIngestion",
        caller="table ingestors",
        sure="inferred",
        kusto="Table Ingestor",
        example=".ingest-from-storage-queued into table database('Db').T with (format='csv') <| .list blobs ('https://acct.blob.core.windows.net/c/f;managed_identity=system')",
        doc="kusto/management/data-ingestion/ingest-from-storage-queued.md:84-97",
    ),
    Workflow(
        id="list_blobs",
        title="List blobs",
        usage="NativeIngestion",
        caller="table ingestors",
        sure="inferred",
        kusto="Table Ingestor",
        example=".list blobs ('https://acct.blob.core.windows.net/c/f;managed_identity=system') MaxFiles=20",
        doc="kusto/management/data-ingestion/list-blobs.md:88",
    ),
    Workflow(
        id="ingest.sdk_queued",
        title="Queued ingestion by an SDK",
        usage="NativeIngestion",
        caller="table ingestors",
        kusto="Ingestor",
        external="Storage Blob Data Reader (Storage Blob Data Contributor with DeleteSourceOnSuccess); Owner or Contributor is not enough",
        example="https://acct.blob.core.windows.net/c/f.csv;managed_identity=system",
        doc="ingest-data-managed-identity.md:50",
        note="Only a queued client supports it. In C#, set the uncompressed size, or 0 if it is not known.",
    ),
    Workflow(
        id="ingest.lightingest",
        title="LightIngest",
        usage="NativeIngestion",
        caller="table ingestors",
        sure="inferred",
        identity="-ingestmi:system|<clientId>",
        kusto="Ingestor",
        example="LightIngest ... -ingestmi:system",
        doc="lightingest.md:66",
        note="takes the client ID, not the object ID",
    ),
    Workflow(
        id="dataconnection.eventhub",
        title="Event Hubs data connection",
        usage="DataConnection",
        caller="",
        identity="the property managedIdentityResourceId: the resource ID of the identity, or of the cluster for the system identity",
        kusto="Contributor on the cluster in Azure",
        external="Azure Event Hubs Data Receiver",
        example='"kind":"EventHub","properties":{"managedIdentityResourceId":"..."}',
        doc="ingest-data-event-hub-overview.md:19-24; create-event-hubs-connection.md:332",
        note="documented for the policies of the target databases; the cluster's policy works by the general rule",
    ),
    Workflow(
        id="dataconnection.eventgrid",
        title="Event Grid data connection",
        usage="DataConnection",
        caller="",
        identity="the property managedIdentityResourceId: the resource ID of the identity, or of the cluster for the system identity",
        kusto="Contributor on the cluster in Azure",
        external="Storage Blob Data Reader and Azure Event Hubs Data Receiver",
        example='"kind":"EventGrid","properties":{"managedIdentityResourceId":"..."}',
        doc="ingest-data-event-grid-overview.md:25-31",
        note="documented for the policies of the target databases; the cluster's policy works by the general rule",
    ),
    Workflow(
        id="dataconnection.cosmosdb",
        title="Azure Cosmos DB data connection",
        usage="DataConnection",
        caller="",
        sure="inferred",
        identity="the property managedIdentityResourceId: the resource ID of the identity, or of the cluster for the system identity",
        kusto="Contributor on the cluster in Azure",
        external="Cosmos DB Built-in Data Reader (00000000-0000-0000-0000-000000000001) and Cosmos DB Account Reader Role (fbdf93bf-df7d-467e-a4d2-9458aa1360c8)",
        example='"kind":"CosmosDb","properties":{"managedIdentityResourceId":"..."}',
        doc="ingest-data-cosmos-db-connection.md:148-176",
        note="documented until 2022, when the portal set the policy itself; for the policies of the target databases",
    ),
    Workflow(
        id="externaldata",
        title="externaldata operator",
        usage="ExternalDataRequest",
        example='externaldata(x:string)[h@"https://acct.blob.core.windows.net/c/f.txt;managed_identity=system"]',
        doc="kusto/management/managed-identity-policy.md:62; kusto/query/externaldata-operator.md:93",
        callout="external_data",
    ),
    Workflow(
        id="inline_external_table",
        title="inline_external_table operator",
        usage="ExternalDataRequest",
        sure="inferred",
        example='inline_external_table(x:long) kind=storage dataformat=parquet (h@"https://acct.blob.core.windows.net/c;managed_identity=system")',
        doc="kusto/query/inline-external-table-operator.md:153",
        callout="external_data",
    ),
    Workflow(
        id="infer_storage_schema",
        title="infer_storage_schema plugin",
        usage="ExternalDataRequest",
        plugin="infer_storage_schema",
        external="Storage Blob Data Reader (ADLS Gen1: Reader)",
        example="evaluate infer_storage_schema(dynamic({'StorageContainers':[h@'https://acct.blob.core.windows.net/c;managed_identity=system'],'DataFormat':'csv'}))",
        doc="kusto/query/infer-storage-schema-plugin.md; kusto/management/managed-identity-policy.md:62",
        note="the page of infer_storage_schema_with_suggestions does not list managed identities",
    ),
    Workflow(
        id="python.external_artifacts",
        title="External artifacts of the python plugin",
        usage="SandboxArtifacts",
        plugin="python",
        kusto="Viewer, with the plugin enabled",
        example="T | evaluate python(typeof(*), script, external_artifacts=bag_pack('a.zip','https://acct.blob.core.windows.net/c/a.zip;managed_identity=system'))",
        doc="kusto/includes/python-plugin-adx.md:121; managed-identities-overview.md:57",
        callout="sandbox_artifacts",
    ),
    Workflow(
        id="r.external_artifacts",
        title="External artifacts of the r plugin",
        usage="SandboxArtifacts",
        plugin="r",
        sure="inferred",
        kusto="Viewer, with the plugin enabled",
        example="T | evaluate r(typeof(*), script, dynamic({}), bag_pack('a.zip','https://.../a.zip;managed_identity=system'))",
        doc="kusto/query/r-plugin.md:34",
        callout="sandbox_artifacts",
    ),
    Workflow(
        id="sql_request",
        title="sql_request plugin",
        usage="SqlRequest",
        plugin="sql_request",
        identity='Authentication="Active Directory Managed Identity"[;User Id=<objectId>]',
        external="SQL SELECT",
        example="evaluate sql_request('Server=tcp:s.database.windows.net,1433;Authentication=\"Active Directory Managed Identity\";Initial Catalog=db;','select 1 as x'):(x:long)",
        doc="kusto/query/sql-request-plugin.md (auth table)",
        callout="sql",
    ),
    Workflow(
        id="cosmosdb_sql_request",
        title="cosmosdb_sql_request plugin",
        usage="SqlRequest",
        plugin="cosmosdb_sql_request",
        identity='Authentication="Active Directory Managed Identity"[;User Id=<objectId>]',
        external="Cosmos DB read",
        example="evaluate cosmosdb_sql_request('AccountEndpoint=https://a.documents.azure.com/;Database=d;Collection=c;Authentication=\"Active Directory Managed Identity\";User Id=<objectId>;','SELECT c.Id from c'):(Id:long)",
        doc="kusto/query/cosmosdb-plugin.md (auth table)",
        callout="cosmosdb",
        note="the policy page misnames it cosmosdb_request",
    ),
    *(
        Workflow(
            id=plugin,
            title=f"{plugin} plugin",
            usage="AzureAI",
            plugin=plugin,
            identity=";managed_identity=system (the documentation shows only system)",
            external="Cognitive Services OpenAI User",
            example=f"evaluate {plugin}({asked}, 'https://a.openai.azure.com/openai/deployments/m/{model}?api-version=2024-06-01;managed_identity=system')",
            doc=f"kusto/query/{plugin.replace('_', '-')}-plugin.md:76-95",
            callout="azure_openai",
            note="the documented examples grant only in the cluster's policy",
        )
        for plugin, asked, model in (
            ("ai_embeddings", "'text'", "embeddings"),
            ("ai_chat_completion", "dynamic([{'role':'user','content':'hi'}])", "chat/completions"),
            ("ai_chat_completion_prompt", "'hi'", "chat/completions"),
        )
    ),
)
