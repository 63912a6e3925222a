"""The typed gRPC service in front of the workers."""
