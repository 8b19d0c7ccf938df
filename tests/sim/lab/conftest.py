"""A made-up comparison, its view, its tables and its page."""

import pytest

from metapulse.sim.lab.report.page import render
from metapulse.sim.lab.report.tables import every
from metapulse.sim.lab.report.view import View
from tests.comparisons import Size, lab


@pytest.fixture(scope="session")
def made():
    return lab(Size())


@pytest.fixture(scope="session")
def view(made):
    return View(made)


@pytest.fixture(scope="session")
def tables(view):
    return every(view)


@pytest.fixture(scope="session")
def page(view, tables):
    return render(view, tables)
