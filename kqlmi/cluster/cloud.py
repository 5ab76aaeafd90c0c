"""The cloud of a cluster, as its endpoint tells it."""

from urllib.parse import urlsplit

from kqlmi.cluster.connection import LOOPBACK
from kqlmi.errors import SignInError


def login_endpoint(url: str) -> str:
    """Give the authority of a cluster's cloud, by its metadata; an endpoint without metadata is the public cloud's.

    Raises:
        SignInError: The endpoint does not tell.
    """
    import requests
    from azure.kusto.data._cloud_settings import CloudSettings
    from azure.kusto.data.exceptions import KustoError

    parts = urlsplit(url)
    with requests.Session() as session:
        session.trust_env = parts.hostname not in LOOPBACK
        try:
            # Asked once for each cluster: the client asks the same.
            return str(CloudSettings.get_cloud_info_for_cluster(url, session=session).login_endpoint)
        except (KustoError, LookupError, TypeError, ValueError) as error:
            raise SignInError(
                f"{parts.netloc} does not tell where to sign in.", hint="Is this the URL of a cluster?"
            ) from error
