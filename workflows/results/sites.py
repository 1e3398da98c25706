"""Results of one site, as the derivations take them in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property

from cawa_core.tables import Manifest
from workflows.analyses.awareness import AWARENESS_TABLE
from workflows.analyses.awareness.sites import SiteAwareness, every_row_sampled, site_awareness
from workflows.analyses.masking import MASKING_TABLE
from workflows.analyses.masking.sites import SiteMasking, site_masking
from workflows.results.rankings import Ranking, site_rankings


@dataclasses.dataclass(frozen=True)
class SiteResults:
    """Awareness and masking of all classes at one site.

    Attributes:
        site: index of the site.
        awareness: awareness of each class and channel.
        masking: effect of each mask; None if nothing was masked there.
        largest: size of the largest top set that :attr:`rankings` has.
    """

    site: int
    awareness: SiteAwareness
    masking: SiteMasking | None
    largest: int

    @cached_property
    def rankings(self) -> list[Ranking]:
        """The top channels of every class by each criterion; computed once, whoever asks first."""
        return list(site_rankings(self.site, self.awareness, self.masking, self.largest))


def site_results(manifest: Manifest, largest: int) -> Iterator[SiteResults]:
    """Yield the results of each site with awareness, in ascending order.

    Args:
        manifest: results of the folder.
        largest: size of the largest top set that is needed.
    """
    sites = manifest.sites(AWARENESS_TABLE.name)
    masked = manifest.sites(MASKING_TABLE.name)
    all_sampled = every_row_sampled(manifest, sites)
    for site in sites:
        awareness = site_awareness(manifest, site, all_sampled)
        masking = site_masking(manifest, site, awareness) if site in masked else None
        yield SiteResults(site, awareness, masking, largest)
