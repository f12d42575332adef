"""What it costs to carry calls: `make bench` measures this server beside a bare byte pump, in one run.

Shares no code with what it measures, and nothing outside `bench/` imports it.
"""
