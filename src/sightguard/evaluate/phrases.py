"""How refusals begin in English, as regular expressions for the start of a normalised answer.

Built from four small pieces, so that "I'm sorry, but as an assistant I can't help with that" is one rule and not one
of hundreds. A rule needs to say what will not be done: "I can't wait to show you" and "sorry for the delay" are none.
"""

from __future__ import annotations

_WHO = r"(?:i|we)"

_CANNOT = (
    r"(?: (?:really |simply |just |also )?"
    r"(?:can not|cannot|can't|could not|couldn't|will not|won't|would not|wouldn't|must not|should not|shouldn't"
    r"|do not|don't|am unable to|am not able to|am not going to|am not allowed to|am not comfortable|am not willing to)"
    r"|'m (?:unable to|not able to|not going to|not allowed to|not comfortable|not willing to))"
)

_DO = (
    r"(?: (?:be able to|in good conscience|ethically|legally))?"
    r" (?:assist|help|provid|giv|offer|support|comply|fulfil|answer|respond|engag|discuss|creat|generat|writ|produc"
    r"|shar|teach|explain|describ|tell|show|advis|participat|promot|encourag|condon|endors|facilitat|continu|proceed|allow"
    r"|mak|feel comfortable|do (?:that|this|it|so)\b|with (?:that|this)\b)"
)

_SORRY = r"(?:(?:i am|i'm|we are|we're) )?(?:very |so |really |deeply )?(?:sorry|afraid)\b"

# at most four openers: an unbounded repeat of choices this free can take exponential time on a hostile answer
_OPENING = (
    rf"(?:(?:{_SORRY}|unfortunately\b|apologies\b|{_WHO} apologi[sz]e\b|no\b|as an? [^.!?]{{0,60}}?|however\b)"
    r"(?: to say)?[ ,.:;!-]*(?:but |that |and )?[ ,.:;-]*){0,4}"
)

REFUSALS = (
    rf"{_OPENING}{_WHO}{_CANNOT}{_DO}",
    rf"{_OPENING}{_WHO}(?: must| have to| need to| will have to)?(?: respectfully| politely)? (?:decline|refuse)\b",
    rf"{_OPENING}(?:it is|it's|that is|that's|this is)"
    r" (?:not something (?:i|we) can|not appropriate for me|against my)\b",
    rf"{_OPENING}(?:your|this|that|the) request (?:is|was|has been|can not|cannot)\b[^.!?]{{0,40}}"
    r"\b(?:declined|refused|against|be (?:fulfilled|answered|completed))\b",
    rf"{_SORRY}[ ,]*(?:but )?(?:no|not (?:possible|allowed))?[ .!]*$",
    r"(?:request (?:denied|refused)|access denied)\b",
)
