"""What data there is: licence, citation, where to get it, and whether it has been imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metapulse.errors import DataError
from metapulse.sim.importers.compact import candidates, find_imported


@dataclass(frozen=True)
class Dataset:
    """One data set or generator.

    Args:
        name: as in ``[population] name``.
        title: what it is, one line.
        users: number of people, or "any".
        devices: device models.
        licence: the publisher's.
        citation: authors, year, venue, identifier.
        where: the publisher's own page.
        layout: what ``metapulse data import`` expects at PATH; "" for a generator.
        prepared: where a prepared compact copy may also be, relative to ``METAPULSE_DATA``.
    """

    name: str
    title: str
    users: str
    devices: str
    licence: str
    citation: str
    where: str
    layout: str = ""
    prepared: tuple[str, ...] = ()

    @property
    def generated(self) -> bool:
        """Made by a generator: nothing to import."""
        return not self.layout

    @property
    def path(self) -> Path | None:
        """The compact file, or None if it has not been imported."""
        return None if self.generated else find_imported(self.name, self.prepared)

    def require(self) -> Path:
        """The compact file.

        Raises:
            DataError: not imported yet; says where to get the data and what to type.
        """
        path = self.path
        if path is None:
            looked = ", ".join(str(place) for place in candidates(self.name, self.prepared))
            raise DataError(
                f"{self.name} has not been imported (looked for {looked}): get {self.layout} from {self.where}, "
                f"then run: metapulse data import {self.name} PATH"
            )
        return path


def _generator(name: str, title: str, citation: str, devices: str = "none") -> Dataset:
    """Data that this project makes, of any number of people."""
    return Dataset(name, title, "any", devices, "Apache-2.0", citation, "built in")


_GENERATORS = (
    _generator(
        "wearables",
        "people with gait, tremor and habits, wearing device models; physics in docs",
        "metapulse (this project)",
        "phone, watch, band, ring",
    ),
    _generator(
        "sine",
        "sine regression tasks, three published generators",
        "Finn, Abbeel, Levine 2017, arXiv 1703.03400; Li et al. 2017, arXiv 1707.09835; "
        "Nichol, Achiam, Schulman 2018, arXiv 1803.02999",
    ),
    _generator(
        "synthetic",
        "Synthetic(alpha, beta): softmax labels with client-wise models and inputs",
        "Li et al. 2020, arXiv 1812.06127; Dinh, Tran, Nguyen 2020, arXiv 2006.08848",
    ),
    _generator(
        "mixture",
        "FedEM's synthetic data: labels from a mixture of linear classifiers that all share",
        "Marfoq, Neglia, Bellet, Kameni, Vidal 2021, arXiv 2108.10252",
    ),
    _generator(
        "leaf",
        "LEAF's synthetic data: classifiers in clusters, meant to be hard for meta-learners",
        "Caldas et al. 2018, arXiv 1812.01097",
    ),
    _generator(
        "gaussian_means",
        "Ditto's point estimation: every client guesses the mean of its own Gaussian",
        "Li, Hu, Beirami, Smith 2021, arXiv 2012.04221",
    ),
    _generator(
        "low_rank",
        "FedRep's linear regression: every client's weights lie in one subspace",
        "Collins, Hassani, Mokhtari, Shakkottai 2021, arXiv 2102.07078",
    ),
)

_RECORDINGS = (
    Dataset(
        "spsw_har",
        "phone and watch worn at once, accelerometer m/s² and gyroscope rad/s, 5 activities",
        "23",
        "phone, watch",
        "CC BY 4.0",
        "Matey-Sanz, Casteleyn, Granell 2023, Data in Brief 109809, doi:10.1016/j.dib.2023.109809",
        "https://doi.org/10.5281/zenodo.8398688",
        "the zip, or the unpacked folder, that holds DATA/sXX/sXX_YY_{sp,sw}.csv",
    ),
    Dataset(
        "aw_fitbit",
        "Apple Watch and Fitbit worn at once, 12 minute features, 6 activities",
        "49",
        "apple_watch, fitbit",
        "CC0 1.0 (the repository's default; check the page)",
        "Fuller et al. 2020, BMJ Open Sport & Exercise Medicine 6:e001004, doi:10.7910/DVN/ZS2Z2J",
        "https://doi.org/10.7910/DVN/ZS2Z2J",
        "aw_fb_data.csv",
    ),
    Dataset(
        "uci_har",
        "one waist-worn phone, 561 features of 2.56 s windows (265 in the time domain), 6 activities",
        "30",
        "phone",
        "CC BY 4.0",
        "Anguita, Ghio, Oneto, Parra, Reyes-Ortiz 2013, ESANN, doi:10.24432/C54S4K",
        "https://doi.org/10.24432/C54S4K",
        "the zip, or the unpacked folder, that holds 'UCI HAR Dataset'",
    ),
    Dataset(
        "omniglot",
        "handwritten characters of 50 alphabets, 20 drawings each, 28 × 28",
        "any",
        "background, evaluation",
        "MIT",
        "Lake, Salakhutdinov, Tenenbaum 2015, Science 350:1332, doi:10.1126/science.aab3050",
        "https://github.com/brendenlake/omniglot",
        "a folder with images_background and images_evaluation, unpacked or as .zip files",
        ("omniglot_small/omniglot_small.npz",),
    ),
    Dataset(
        "cgm_open",
        "continuous glucose monitoring of several open studies; forecast 30 minutes ahead",
        "498",
        "the sensor model of each person",
        "per study: CC BY, ODC-By, CC0 or CC BY-SA (see each study)",
        "Prioleau, Lu, Cui 2025, Glucose-ML, arXiv 2507.14077, and each study",
        "https://github.com/Augmented-Health-Lab/Glucose-ML-Project",
        "the folder of its collection (one CSV per person), or one CSV with dataset, user, time or t_min, mg_dl",
    ),
)


def catalogue() -> tuple[Dataset, ...]:
    """Every generator and recorded data set that a configuration can name; ``own`` data describes itself."""
    return _GENERATORS + _RECORDINGS


def dataset(name: str) -> Dataset:
    """One entry of the catalogue.

    Raises:
        DataError: no such data set.
    """
    for entry in catalogue():
        if entry.name == name:
            return entry
    raise DataError(f"data set {name!r}: must be one of {', '.join(e.name for e in catalogue())}")
