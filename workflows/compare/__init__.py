"""``cawa compare``: changes and regressions between the audits of two checkpoints.

Each analysis declares its comparison (:class:`workflows.interface.Comparison`). This package pairs the audits, runs
the comparisons that both have, and writes the result; it knows no analysis. It imports nothing here, because the
command line needs only the options.
"""
