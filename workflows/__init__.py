"""The workflow: configuration, plan, shards, stages, executors, aggregation, command line."""
