"""An embedded stand-in for the OpenAI Realtime API: a process of its own, on loopback.

It owns the server's side of the GA protocol and shares no code with the program it stands in for: what it
knows of a caller, a tool or a clinic it reads from the session that it is sent.
"""
