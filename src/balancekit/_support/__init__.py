"""Helpers of every package: records, validation of arguments, logging, lazy imports, the version.

Private. Each module stands alone and imports nothing of the library but ``errors``.
"""
