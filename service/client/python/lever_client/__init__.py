"""Python clients of Lever: `Lever` speaks gRPC, `openfeature.LeverProvider` is a provider of OpenFeature."""

from lever_client.client import Choice, Lever

__version__ = "0.1.0"
__all__ = ["Choice", "Lever"]
