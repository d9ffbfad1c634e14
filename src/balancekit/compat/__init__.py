"""Which requests would nginx, HAProxy or Envoy have sent where?

One package or module per proxy. Each makes the choices of its proxy, quirks included; the quirks stay here
and nowhere else. Compared entry by entry with choices recorded from the real programs.
"""
