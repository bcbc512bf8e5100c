"""What load tests stand on: servers, pinned processes, callers, floors, reports."""
