"""Stores of decisions, on both engines."""

import pytest


@pytest.fixture(params=["sqlite", "postgresql"], scope="session")
def new_store_url(request, tmp_path_factory):
    """Give the URL of a store that does not exist yet: each test runs on both engines."""
    if request.param == "postgresql":
        return request.getfixturevalue("new_postgres_database")
    return lambda: f"sqlite:///{tmp_path_factory.mktemp('store')}/decisions.sqlite"


@pytest.fixture
def store_url(new_store_url):
    return new_store_url()
