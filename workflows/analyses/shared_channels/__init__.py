"""In the top sets of how many classes each channel is: of all (paper, Table 1 and Appendix C), and of fewer."""

from __future__ import annotations

import dataclasses

from cawa_core.options import Count, option
from cawa_core.tables.schema import CRITERION, F32, I32, SITE, Table
from workflows.analyses.awareness import AWARENESS
from workflows.interface import Analysis


@dataclasses.dataclass(frozen=True)
class SharedChannelOptions:
    """Options of the analysis ``shared_channels``."""

    shared_k: tuple[Count, ...] = option(
        (1, 2, 5, 10, 20, 50),
        "Sizes k of the sets of top channels for which the channels that classes share are counted.",
        is_distinct=True,
    )


SHARED_CHANNELS_TABLE = Table(
    "shared_channels",
    ("site", "k", "criterion"),
    {
        **SITE,
        "k": (I32, "size of the sets of top channels"),
        **CRITERION,
        "shared": (I32, "number of channels in the top k of every class (Table 1)"),
        "shared_by_chance": (F32, "number expected for independent random sets"),
        "in_nine_tenths": (I32, "number of channels in the top k of at least nine tenths of the classes"),
        "in_nine_tenths_by_chance": (F32, "number expected for independent random sets"),
        "in_half": (I32, "number of channels in the top k of at least half of the classes"),
        "in_half_by_chance": (F32, "number expected for independent random sets"),
        "n_channels": (I32, "number of channels ranked"),
        "n_classes": (I32, "number of classes compared"),
    },
)
TOP_CHANNEL_POPULARITY_TABLE = Table(
    "top_channel_popularity",
    ("site", "k", "criterion", "channel"),
    {
        **SITE,
        "k": (I32, "size of the sets of top channels: shared_k, and 1 (Appendix C)"),
        **CRITERION,
        "channel": (I32, "index of the channel at its site"),
        "n_classes": (
            I32,
            "number of classes that have this channel in their top k; channels of none are left out",
        ),
    },
)

SHARED_CHANNELS = Analysis(
    "shared_channels",
    "Shared channels",
    options=SharedChannelOptions,
    tables=(SHARED_CHANNELS_TABLE, TOP_CHANNEL_POPULARITY_TABLE),
    after=(AWARENESS.name,),
    derivation="workflows.analyses.shared_channels.derivation:SharedChannelsDerivation",
    results="workflows.analyses.shared_channels.results:SharedChannelsResults",
    not_compared="the comparison of awareness compares the top channels of each class",
)
