"""The gRPC service: one proto, its generated code, and the shell that answers calls."""
