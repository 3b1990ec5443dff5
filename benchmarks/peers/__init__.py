"""The peers, each in the way its users write it: ``python -m benchmarks.peers.NAME --help``.

Every module answers the same request (:class:`benchmarks.peers.request.Request`): the same network
on the same data, with the same batches, optimizer, rate and augmentation. It marks its first
training step, tests on the test split at the end, and prints one JSON line.
"""
