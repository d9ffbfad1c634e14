"""Mistakes of a first hour with the library, and what it says to each.

``python -m tests.unit.mistakes`` prints the table, message by message.
"""
