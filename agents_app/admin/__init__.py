"""The manager's admin: what a receptionist is, and who may change it. Importing this package registers its pages.

The practice's and the calls' pages build on `scoping`, and are registered by their own apps.
"""

from agents_app.admin import agents, catalogue, clinics, people, tokens

__all__ = ["agents", "catalogue", "clinics", "people", "tokens"]
