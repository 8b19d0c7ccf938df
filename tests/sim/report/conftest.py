"""A made-up comparison, its view, its tables and its page."""

import pytest

from metapulse.sim.report.comparison.page import comparison_page
from metapulse.sim.report.comparison.tables import every_table
from metapulse.sim.report.comparison.view import ComparisonView
from tests.comparisons import Size, lab


@pytest.fixture(scope="session")
def made():
    return lab(Size())


@pytest.fixture(scope="session")
def view(made):
    return ComparisonView(made)


@pytest.fixture(scope="session")
def tables(view):
    return every_table(view)


@pytest.fixture(scope="session")
def page(view, tables):
    return comparison_page(view, tables)
