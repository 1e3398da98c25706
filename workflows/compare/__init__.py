"""``cawa compare``: changes and regressions between the audits of two checkpoints.

This package imports nothing, because the command line needs only the options.
"""
