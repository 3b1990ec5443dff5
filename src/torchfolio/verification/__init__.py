"""Comparison of our networks with their canonical implementations.

``verify(name)`` judges the catalogue's network, ``verify(name, network=...)`` any other one as that
form.
"""

from torchfolio.verification.judge import Layer, Verification, verify

__all__ = ["Layer", "Verification", "verify"]
