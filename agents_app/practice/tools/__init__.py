"""The tools of the practice: what a receptionist may look up and do. Found by the registry when the apps are ready.

Handlers know the clinic, the call and the patient from their context alone, and nothing of sessions.
"""

from agents_app.practice.tools import appointments, identity, messages, offers, office

__all__ = ["appointments", "identity", "messages", "offers", "office"]
