"""The cloud of a cluster, as its endpoint reports it."""

from urllib.parse import urlsplit

from kqlmi.cluster.connection import LOOPBACK
from kqlmi.errors import SignInError


def login_endpoint(url: str) -> str:
    """Return the authority of a cluster's cloud from its metadata. An endpoint without metadata is in the public cloud.

    Raises:
        SignInError: The metadata does not name an authority.
    """
    import requests
    from azure.kusto.data._cloud_settings import CloudSettings
    from azure.kusto.data.exceptions import KustoError

    parts = urlsplit(url)
    with requests.Session() as session:
        session.trust_env = parts.hostname not in LOOPBACK
        try:
            # The SDK caches this for each cluster, and its client needs it too.
            return str(CloudSettings.get_cloud_info_for_cluster(url, session=session).login_endpoint)
        except (KustoError, LookupError, TypeError, ValueError) as error:
            raise SignInError(
                f"{parts.netloc} does not report where to sign in.", hint="Check that this is the URL of a cluster."
            ) from error
