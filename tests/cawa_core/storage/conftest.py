"""Storages in two object stores, each behind a proxy."""

from uuid import uuid4

import pytest

from cawa_core.storage import open_storage
from tests.object_store import BUCKET

PROXIES = {"s3": "proxy", "gs": "google_proxy"}


def remote(patience=20.0, scheme="s3"):
    return open_storage(f"{scheme}://{BUCKET}/{uuid4().hex}/audit", patience)


@pytest.fixture(params=list(PROXIES))
def away(request):
    """The proxy before an object store, and a storage there."""
    return request.getfixturevalue(PROXIES[request.param]), remote(scheme=request.param)
