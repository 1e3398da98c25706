"""Measure each fast path against naive code or a library that computes the same: ``make bench``.

A module of this package measures one step of the pipeline; its ``run`` yields :class:`~benchmarks.results.Result`.
"""
