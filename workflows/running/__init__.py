"""Running an audit: one job from its options to its report, shard by shard."""
