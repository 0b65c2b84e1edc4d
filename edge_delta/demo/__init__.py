"""The demonstration, with its sample sensor and its local S3 server."""
