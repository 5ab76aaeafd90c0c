"""The catalogue of the usages that a ManagedIdentity policy can allow, one row each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """One value of ``AllowedUsages``.

    ``name`` has the service's spelling. ``cluster_only`` marks a usage that has no effect in a database's
    policy. Source: the ManagedIdentity policy page of the Azure Data Explorer documentation.
    """

    name: str
    summary: str
    cluster_only: bool = False


USAGES: tuple[Usage, ...] = (
    Usage("NativeIngestion", "An SDK ingests from external storage"),
    Usage("ExternalTable", "External tables read and write their store"),
    Usage("DataConnection", "Event Hubs and Event Grid connections ingest"),
    Usage("AutomatedFlows", "Continuous exports and update policies run on behalf of the identity"),
    Usage("SandboxArtifacts", "Sandboxed plugins, such as python, load external artifacts", cluster_only=True),
    Usage("ExternalDataRequest", "externaldata and infer_storage_schema read storage"),
    Usage("ExportRequest", ".export writes to storage"),
    Usage("SqlRequest", "sql_request and cosmosdb_sql_request query a remote database"),
    Usage("AzureAI", "The AI plugins call Azure OpenAI"),
    Usage("All", "Every usage, including future ones"),
)
