"""Clients of object stores; endpoint, region and credentials come from the environment, as for the stores' tools."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from obstore.exceptions import BaseError, UnknownConfigurationKeyError
from obstore.store import from_url

from cawa_core.errors import InputError, first_line

CLIENT_RETRY_SECONDS = 5.0
"""Time for which a client retries a failed request by itself, before its caller checks the lease again."""


def open_store(url: str, timeout: float) -> Any:  # noqa: ANN401
    """Open a client for the store and prefix of a URL.

    Args:
        url: ``s3://bucket/prefix``, ``gs://…`` or ``az://…``.
        timeout: seconds until a request without a response counts as failed.

    Raises:
        InputError: the store cannot be opened.
    """
    options: dict[str, Any] = {
        "client_options": {"timeout": timedelta(seconds=timeout), "connect_timeout": timedelta(seconds=5)},
        "retry_config": {"max_retries": 2, "retry_timeout": timedelta(seconds=CLIENT_RETRY_SECONDS)},
    }
    endpoint = ""
    if url.startswith("s3://"):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        options |= _s3_options(endpoint)
    elif url.startswith("gs://"):
        endpoint = os.environ.get("GOOGLE_BASE_URL") or ""  # the client reads it by itself
    options["client_options"]["allow_http"] = endpoint.startswith("http://")
    try:
        return from_url(url, **options)
    except (BaseError, UnknownConfigurationKeyError, ValueError) as error:
        raise InputError(f"audit folder {url} cannot be opened: {first_line(error)}") from None


def _s3_options(endpoint: str) -> dict[str, Any]:
    """Return the client's options as the AWS command line finds them: environment, profile, or the machine's role."""
    from boto3.session import Session
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = Session()
    options: dict[str, Any] = {"region": session.region_name or "us-east-1"}
    if endpoint:
        options |= {"endpoint": endpoint}
    arguments: dict[str, Any] = {"config": options}
    if session.get_credentials() is not None:
        arguments["credential_provider"] = Boto3CredentialProvider(session)
    return arguments
