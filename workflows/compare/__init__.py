"""``cawa compare``: what changed between the audits of two checkpoints, and what got worse.

Nothing is imported here: the command line needs the options alone.
"""
