"""OpenAI's wire shapes: requests that are read without guessing, and answers that say what was inspected. No web framework here."""
