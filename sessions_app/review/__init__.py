"""How staff find and read calls afterwards: who reads, which calls, in what order, and what a call says of itself.

Shared by the review pages and the staff API. Knows nothing of HTTP, and never of a call in progress.
"""
