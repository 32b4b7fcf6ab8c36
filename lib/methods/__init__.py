"""Self-supervised methods, one file each, on one footing: same network, data, budget and evaluation.

A method is a task for `lib.training`: `.networks` (everything that is trained), `.sample(step)` (a batch, a function of
seed and step alone, without networks, so that other processes can make it) and `.loss(batch, step)` (a scalar and the
numbers to log).
"""
