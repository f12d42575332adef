"""The subset of the Realtime dialect that callers and this server speak. Nothing is passed on as it came.

`said` reads what a caller may say; `heard` writes what a caller may hear.
"""
