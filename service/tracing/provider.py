"""Where traces come from and go to: OpenTelemetry's SDK, set by its own variables (OTEL_EXPORTER_OTLP_ENDPOINT and others)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service import __version__
from service.errors import PreconditionError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

MISSING = "LEVER_TRACES needs OpenTelemetry: pip install 'lever-bandits[otel]'"


def provider(share: float, processor: SpanProcessor | None = None) -> TracerProvider:
    """Traces so many of the calls that are in no trace yet, and each call of which the caller says that it is traced.

    Spans go to `processor`, or in batches to an OTLP collector over HTTP. PreconditionError without the libraries.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise PreconditionError(MISSING) from error
    told = Resource({"service.name": "lever", "service.version": __version__})
    # Resource.create reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, which win.
    made = TracerProvider(ParentBased(TraceIdRatioBased(share)), told.merge(Resource.create()), shutdown_on_exit=False)
    made.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
    return made
