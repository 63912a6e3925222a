"""For tests of code that uses this package: no server, no sockets, no torch."""

from scoreguard_client.testing.service import FakeCall, FakeService, fake_client

__all__ = ["FakeCall", "FakeService", "fake_client"]
