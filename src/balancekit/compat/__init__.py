"""Compatible implementations of the choices of other software: proxies, hash rings, name servers and model routers.

There is one package or module for each program. Each makes the same choices as its program, including its peculiarities,
which no other package of this library has. The docstring of each module states its source. Where it says "recorded", the
choices are compared with recordings of the real program.
"""
