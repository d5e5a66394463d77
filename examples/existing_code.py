"""Guard code that already calls `model.generate`, without changing it."""

from transformers import AutoProcessor, LlavaForConditionalGeneration

from sightguard import VLM, VlmGuard
from sightguard.data.pictures import decode
from sightguard.pocket.locate import folder
from sightguard.pocket.world import anchors, settings

checkpoint = folder("pocket")  # any LLaVA-architecture checkpoint
model = LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype="float32")
processor = AutoProcessor.from_pretrained(checkpoint)
guard = VlmGuard.fit(VLM(model, processor), anchors())

question = settings("validation", n=1)["blank_image"][0]
chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question.text}]}]
prompt = processor.apply_chat_template(chat, add_generation_prompt=True)
inputs = processor(text=[prompt], images=[decode(question.images[0])], return_tensors="pt")


def answer() -> str:
    """The code that was there before."""
    tokens = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    return str(processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


print("plain   ", answer())
with guard.on(model):
    print("guarded ", answer())
