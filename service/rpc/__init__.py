"""lever.v1 over gRPC: from messages to the use cases and back."""
