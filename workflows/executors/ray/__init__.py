"""Execution of shards on Ray, and the only modules that import it."""
