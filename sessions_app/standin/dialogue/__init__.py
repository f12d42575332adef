"""The dialogue: what the stand-in answers. It knows no tool and no clinic; all comes from the session."""

from sessions_app.standin.dialogue.mind import decide
from sessions_app.standin.dialogue.scene import Reply, Scene
from sessions_app.standin.dialogue.vocabulary import Vocabulary, vocabulary

__all__ = ["Reply", "Scene", "Vocabulary", "decide", "vocabulary"]
