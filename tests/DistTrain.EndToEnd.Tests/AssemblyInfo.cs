// Every test starts a cluster of processes: one at a time, or they only measure each other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
