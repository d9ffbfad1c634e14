"""The choices of other software: proxies, hash rings and name servers.

One package or module per program. Each makes the choices of its program, quirks included; the quirks stay here
and nowhere else. Compared entry by entry with choices recorded from the real programs.
"""
