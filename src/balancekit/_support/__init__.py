"""Private helpers of every package: records, validation of arguments, logging, lazy imports, the version.

Every package may import this one. So this package imports no other module of the library but ``errors``.
"""
