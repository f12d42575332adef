"""Owns every sentence that the talk page's script shows. Knows nothing of when one is shown.

The script asks by name; a test checks that each name it may ask for is here.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from agents_app.models import Agent

RETRY, TYPE, LEAVE, PHONE = "retry", "type", "leave", "phone"


def texts(agent: Agent) -> dict[str, Any]:
    """Return the sentences for `agent`'s page, in the reader's language."""
    name, clinic = agent.name, agent.clinic.name
    return {
        "status": _status(name),
        "hint": _hints(name),
        "problem": {code: _problem(*parts) for code, parts in _problems(name, clinic).items()},
        "steps": _steps(),
        "ended": _ended(name),
        "callback": {
            "kept": _("Thank you. We will call you back on {phone}."),
            "too_many": _("We cannot note more numbers just now. Please call us by phone."),
            "failed": _("Your number could not be noted. Please try again, or call us by phone."),
        },
        "captions": {
            "agent": name,
            "caller": _("You"),
            "pending": _("…"),
            "inaudible": _("inaudible"),
            "not_sent": _("not sent"),
            "not_heard": _("not heard:"),
            "result": _("Done"),
            "check": _("Please check:"),
        },
        "button": {
            "hold": _("Hold to talk"),
            "holding": _("Listening… release to send"),
            "to_text": _("Text only"),
            "to_voice": _("Use voice"),
            "copy": _("Copy"),
            "copied": _("Copied"),
            "not_copied": _("Not copied"),
        },
        "misc": {
            "call_number": _("Call {number}"),
            "time_left": _("{minutes} min left"),
            "agent_says": _("{name} says: {text}"),
            "you_said": _("You said: {text}"),
            "trying": _("Connection lost. Trying again ({tries})…"),
            "microphone": _("Microphone {number}"),
        },
    }


def _status(name: str) -> dict[str, str]:
    return {
        "idle": "",
        "microphone": _("Your browser asks to use the microphone. Choose Allow."),
        "connecting": _("Connecting…"),
        "reconnecting": _("Connection lost. Trying again…"),
        "listening": _("Listening"),
        "listening_text": _("Type your message"),
        "listening_push": _("Hold the button to talk"),
        "thinking": _("One moment…"),
        "working": _("Working…"),
        "speaking": _("%(name)s is speaking") % {"name": name},
        "speaking_text": _("%(name)s is writing…") % {"name": name},
        "muted": _("You are muted"),
        "closing": _("Ending the call…"),
        "ended": _("The call has ended"),
        "error": _("There is a problem"),
    }


def _hints(name: str) -> dict[str, str]:
    return {
        "interrupt": _("You can interrupt at any time"),
        "quiet": _("We cannot hear you. Is your microphone muted?"),
        "talking_muted": _("You are muted: %(name)s cannot hear you.") % {"name": name},
        "still_connecting": _("Still connecting…"),
        "slow_connecting": _("This takes longer than usual. You can cancel, or call us by phone."),
        "other_microphone": _("Your microphone was disconnected. We are using another one now."),
        "microphone_lost": _("Your microphone was disconnected. You can go on by typing."),
        "audio_too_fast": _("Some of your sound was lost. Please say that again."),
        "budget_text_only": _("%(name)s goes on in writing. You can still speak.") % {"name": name},
        "budget_message": _("%(name)s can now only take a message for the team.") % {"name": name},
        "reconnecting": _("What was said is kept. What you type is sent when we are connected again."),
        "too_short": _("Hold the button for as long as you speak."),
        "server": _("Something did not work. Please try that again."),
    }


def _problem(title: str, text: str, *ways: str) -> dict[str, Any]:
    return {"title": title, "text": text, "ways": [*ways, PHONE]}


def _problems(name: str, clinic: str) -> dict[str, tuple[str, ...]]:
    return _microphone_problems() | _start_problems(name, clinic) | _close_problems(name)


def _microphone_problems() -> dict[str, tuple[str, ...]]:
    refused = _("The microphone is not allowed")
    return {
        "microphone_refused": (refused, _("Your browser did not let this page listen."), RETRY, TYPE),
        "microphone_system": (
            refused,
            _("Your computer or phone does not let the browser use the microphone."),
            RETRY,
            TYPE,
        ),
        "microphone_policy": (
            refused,
            _("The web site around this page does not pass the microphone on. Open the page by itself, or type."),
            TYPE,
        ),
        "microphone_missing": (
            _("No microphone was found"),
            _("Connect a microphone or a headset and try again, or type instead."),
            RETRY,
            TYPE,
        ),
        "microphone_busy": (
            _("The microphone is in use"),
            _("Another program seems to be using it. Close that program and try again, or type instead."),
            RETRY,
            TYPE,
        ),
        "insecure": (
            _("This page is not secure"),
            _("Browsers give the microphone only to pages whose address begins with https. You can type instead."),
            TYPE,
        ),
        "unsupported": (
            _("This browser cannot do voice calls"),
            _("Open this page in Chrome, Edge, Firefox or Safari, or type instead."),
            TYPE,
        ),
    }


def _start_problems(name: str, clinic: str) -> dict[str, tuple[str, ...]]:
    try_later = _("Please try again in a few minutes, or call us by phone.")
    return {
        "key_origin": (
            _("This page may not start a call"),
            _("The address of this page is not on the list of %(clinic)s. Please call us by phone.")
            % {"clinic": clinic},
        ),
        "key_unknown": (
            _("%(name)s takes no calls at the moment") % {"name": name},
            _("Please call us by phone."),
            RETRY,
            LEAVE,
        ),
        "key_rate": (_("Too many calls from your connection"), try_later, RETRY),
        "key_busy": (
            _("All lines are taken"),
            _("Everyone is in a call right now. Please try again in a minute, or call us by phone."),
            RETRY,
            LEAVE,
        ),
        "key_upstream": (_("%(name)s is not available") % {"name": name}, try_later, RETRY, LEAVE),
        "key_network": (
            _("No connection"),
            _("We could not reach the clinic's server. Check your internet connection and try again."),
            RETRY,
        ),
        "key_other": (_("The call could not be started"), try_later, RETRY, TYPE),
        "socket_failed": (
            _("The call could not be connected"),
            _("Your network may block this kind of connection. Try another network, or call us by phone."),
            RETRY,
        ),
    }


def _close_problems(name: str) -> dict[str, tuple[str, ...]]:
    lost = _("The connection was lost")
    wrong = _("The call was stopped")
    return {
        "close_1006": (lost, _("Check your internet connection, then start again."), RETRY, TYPE),
        "close_1012": (
            _("Our server is restarting"),
            _("Please start again in a moment. What you said so far has been kept."),
            RETRY,
            TYPE,
        ),
        "close_1013": (
            _("All lines are taken"),
            _("Please try again in a minute, or call us by phone."),
            RETRY,
            LEAVE,
        ),
        "close_4400": (
            wrong,
            _("Your browser sent something that we did not understand. Reload the page and start again."),
            RETRY,
            TYPE,
        ),
        "close_4401": (
            _("The call could not be continued"),
            _("Its pass has run out. Please start a new call."),
            RETRY,
            TYPE,
        ),
        "close_4403": (_("This page may not start a call"), _("Please call us by phone.")),
        "close_4404": (
            _("%(name)s takes no calls at the moment") % {"name": name},
            _("Please call us by phone."),
            RETRY,
            LEAVE,
        ),
        "close_4408": (
            _("Nobody spoke for a while"),
            _("So the call was ended. Start a new one whenever you like."),
            RETRY,
            TYPE,
        ),
        "close_4409": (
            _("The call goes on in another window"),
            _("You opened it in another tab or on another device. Close this one, or start a new call here."),
            RETRY,
        ),
        "close_4413": (
            wrong,
            _("A message was too large. Please send shorter ones."),
            RETRY,
            TYPE,
        ),
        "close_4429": (
            wrong,
            _("Too much was sent at once. Wait a moment, then start again."),
            RETRY,
            TYPE,
        ),
        "close_4430": (
            _("No more calls at the moment"),
            _("The clinic has reached its limit for automated calls. Please call us by phone."),
            LEAVE,
        ),
        "close_4500": (
            _("%(name)s cannot go on") % {"name": name},
            _("The speech service stopped answering. What you said so far has been kept."),
            RETRY,
            LEAVE,
        ),
        "close_other": (wrong, _("Something went wrong on our side. Please start again."), RETRY, TYPE),
    }


def _steps() -> dict[str, list[str]]:
    """Return the steps that give a refused microphone back, for each browser that `microphone_help.js` tells apart."""
    again = _("Come back here and press Try again.")
    return {
        "chrome": [
            _("Press the icon at the left end of the address bar."),
            _("Switch Microphone on."),
            again,
        ],
        "edge": [
            _("Press the padlock at the left end of the address bar."),
            _("Set Microphone to Allow."),
            again,
        ],
        "firefox": [
            _("Press the crossed-out microphone in the address bar."),
            _("Remove the block beside “Use the microphone”."),
            again,
        ],
        "safari_mac": [
            _("In the menu bar choose Safari, then Settings for this web site."),
            _("Set Microphone to Allow."),
            again,
        ],
        "safari_iphone": [
            _("Press the page menu at the end of the address bar, then Website Settings."),
            _("Set Microphone to Allow."),
            again,
        ],
        "chrome_android": [
            _("Press the icon at the left end of the address bar, then Permissions."),
            _("Switch Microphone on."),
            again,
        ],
        "in_app": [
            _("You are inside another app's browser, which may have no microphone."),
            _("Open its menu and choose Open in browser."),
            _("Start the call there."),
        ],
        "other": [
            _("Open the site settings of this page in your browser."),
            _("Allow the microphone."),
            again,
        ],
        "system": [
            _("Windows: Settings, Privacy and security, Microphone: let desktop apps use it."),
            _("Mac: System Settings, Privacy and Security, Microphone: switch your browser on."),
            again,
        ],
    }


def _ended(name: str) -> dict[str, dict[str, str]]:
    goodbye = _("Thank you for calling")
    over = _("The call has ended")
    lost = {
        "title": _("%(name)s cannot go on") % {"name": name},
        "text": _("The speech service stopped answering. What you said so far has been kept."),
    }
    fault = {"title": over, "text": _("Something went wrong on our side. Please call us by phone.")}
    return {
        "caller": {"title": over, "text": _("You ended the call. What was said is kept for our staff.")},
        "goodbye": {"title": goodbye, "text": _("%(name)s has said goodbye.") % {"name": name}},
        "time_limit": {
            "title": over,
            "text": _("It reached the longest time that a call may take. You can start another one."),
        },
        "idle": {"title": over, "text": _("Nobody spoke for a while. Start a new one whenever you like.")},
        "emergency": {
            "title": _("Please call now"),
            "text": _("%(name)s cannot help in an emergency. Use the number above.") % {"name": name},
        },
        "emergency_unnumbered": {
            "title": over,
            "text": _("%(name)s cannot help with this. Please follow the advice above.") % {"name": name},
        },
        "upstream": lost,
        "refused": lost,
        "internal": fault,
        "error": fault,
        "bad_message": fault,
        "interrupted": {
            "title": _("Our server is restarting"),
            "text": _("Please start again in a moment. What you said so far has been kept."),
        },
        "budget": {
            "title": _("No more calls at the moment"),
            "text": _("The clinic has reached its limit for automated calls. Please call us by phone."),
        },
        "other": {"title": over, "text": _("What was said is kept for our staff.")},
    }
