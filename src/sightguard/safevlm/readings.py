"""What of a conversation the safety head is asked, one reading at a time, and which reading counts. No torch.

A head that is trained on single turns is not asked a whole conversation at once: it averages what it finds over the words of the question
(`query="pooled"`), so harmless turns thin out a harmful one. Its logits for texts together are averages of those for each, weighted by
their words, and log p(unsafe) - log p(safe) is convex in the logits: the riskiest turn alone is never judged safer than turns together, but for
the words between them. So every turn that is read is read alone too, and the riskiest reading counts. The papers know single turns only.

Which turns are read, the policy says. A head that was trained on the user's questions can flag harmless turns of the system and the
assistant for what they are, so the default is the user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sightguard.safevlm.policy import ACTIONS

if TYPE_CHECKING:
    from sightguard.safevlm.policy import Policy, Turns
    from sightguard.types import Message, Risk, Sample

MOST = 64
"""Readings of one conversation. All but two are of turns; where a conversation has more, neighbours share a reading."""


def words_of(sample: Sample) -> str:
    """Return the words of the user's turns, one turn a line."""
    return "\n".join(message.text for message in sample.messages if message.role == "user")


def readings(sample: Sample, turns: Turns = "user", most: int = MOST) -> tuple[str, ...]:
    """Return the texts that the head is asked of one conversation, `most` or fewer: one where there is a single turn.

    The user's turns together come first; then the user's last turn; then every earlier turn of the user, or with `turns="all"` every
    other turn, whoever speaks, alone or, in long conversations, with its neighbours, one turn a line. Turns without words, and texts that
    are read already, are left out.

    Example:
        >>> from sightguard.types import Message, Sample
        >>> said = [("system", "be kind ."), ("user", "hi ."), ("assistant", "hello ."), ("user", "what is this ?")]
        >>> sample = Sample("a", tuple(Message(role, (text,)) for role, text in said))
        >>> readings(sample)
        ('hi .\\nwhat is this ?', 'what is this ?', 'hi .')
        >>> readings(sample, "all")
        ('hi .\\nwhat is this ?', 'what is this ?', 'be kind .', 'hi .', 'hello .')
    """
    together = words_of(sample)
    read = [message for message in sample.messages if turns == "all" or message.role == "user"]
    spoken = [message for message in read if message.text.strip()]
    last = next((message for message in reversed(spoken) if message.role == "user"), None)
    alone = [] if last is None else [last.text]
    others = [message for message in spoken if message is not last]
    found = [together, *alone, *windows(others, most - 2)]
    return tuple(dict.fromkeys(found))


def windows(turns: Sequence[Message], most: int) -> Iterator[str]:
    """Yield the words of turns in at most `most` runs of neighbours, as short as can be: each holds as many turns as another, or one more."""
    count = min(most, len(turns))
    for i in range(count):
        run = turns[i * len(turns) // count : (i + 1) * len(turns) // count]
        yield "\n".join(message.text for message in run)


def riskiest(seen: Sequence[Risk], policy: Policy) -> int:
    """Return which of several verdicts on one request counts: of those with the strongest action, the one that is least likely safe.

    The action comes first, so that words of a light risk, or of one that is switched off, cannot stand before those of a grave one.
    """

    def rank(i: int) -> tuple[int, float]:
        return ACTIONS.index(policy.decide(seen[i]).action), seen[i].p_unsafe

    return max(range(len(seen)), key=rank)
