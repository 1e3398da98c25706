"""Planning: what an audit lacks, in which shards it is computed, and what that costs."""
