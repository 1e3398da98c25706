"""Clients of object stores; endpoint, region and credentials come from the environment, as the stores' own tools do."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from obstore.exceptions import BaseError, UnknownConfigurationKeyError
from obstore.store import from_url

from cawa_core.errors import InputError, first_line

REPEATED_FOR = 5.0
"""Seconds in which a client repeats a failed request by itself; after that its caller looks at its lease again."""


def opened_store(url: str, timeout: float) -> Any:  # noqa: ANN401
    """The client of the store and prefix that a URL names.

    Args:
        timeout: seconds until a request without an answer counts as failed.

    Raises:
        InputError: the store cannot be opened.
    """
    options: dict[str, Any] = {
        "client_options": {"timeout": timedelta(seconds=timeout), "connect_timeout": timedelta(seconds=5)},
        "retry_config": {"max_retries": 2, "retry_timeout": timedelta(seconds=REPEATED_FOR)},
    }
    endpoint = ""
    if url.startswith("s3://"):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        options |= _s3_options(endpoint)
    elif url.startswith("gs://"):
        endpoint = os.environ.get("GOOGLE_BASE_URL") or ""  # which the client reads by itself
    options["client_options"]["allow_http"] = endpoint.startswith("http://")
    try:
        return from_url(url, **options)
    except (BaseError, UnknownConfigurationKeyError, ValueError) as error:
        raise InputError(f"audit folder {url} cannot be opened: {first_line(error)}") from None


def _s3_options(endpoint: str) -> dict[str, Any]:
    """What the AWS command line would find: credentials of the environment, a profile, or the machine's role."""
    from boto3.session import Session
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = Session()
    options: dict[str, Any] = {"region": session.region_name or "us-east-1"}
    if endpoint:
        options |= {"endpoint": endpoint}
    found: dict[str, Any] = {"config": options}
    if session.get_credentials() is not None:
        found["credential_provider"] = Boto3CredentialProvider(session)
    return found
