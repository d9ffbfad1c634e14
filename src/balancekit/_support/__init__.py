"""Helpers of every package: records, validation of arguments, logging, lazy imports, the version.

Private. Nothing of the library is imported here but ``errors``, for all of it may import this.
"""
