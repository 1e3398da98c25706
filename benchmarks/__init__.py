"""What each fast path costs beside its naive or library counterpart: ``make bench``.

A module of this package measures one step of the pipeline; its ``run`` yields :class:`~benchmarks.results.Result`.
"""
