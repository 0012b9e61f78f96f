"""Trained runs behind HTTP: batches of many clients' requests, the service's routes, its numbers."""
