"""`manage.py doctor`: tries each thing that a call needs, for real, and names the one that fails and what to do."""
