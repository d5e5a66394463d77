"""Guard a `transformers.pipeline`, and an answer that is streamed while it is written."""

from threading import Thread

from transformers import TextIteratorStreamer, pipeline

from sightguard import VLM, VlmGuard
from sightguard.data.pictures import decode
from sightguard.pocket.world import anchors, settings

vlm = VLM.load("pocket")  # any LLaVA-architecture checkpoint
guard = VlmGuard.fit(vlm, anchors())
question = settings("validation", n=1)["blank_image"][0]
picture = decode(question.images[0])
chat = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": question.text}]}]

ask = pipeline("image-text-to-text", model=vlm.model, processor=vlm.processor)
plain = ask(text=chat, max_new_tokens=24, do_sample=False, return_full_text=False)[0]["generated_text"]
with guard.on(vlm.model):
    guarded = ask(text=chat, max_new_tokens=24, do_sample=False, return_full_text=False)[0]["generated_text"]
print("plain   ", plain)
print("guarded ", guarded)

prompt = vlm.processor.apply_chat_template(chat, add_generation_prompt=True)
inputs = vlm.processor(text=[prompt], images=[picture], return_tensors="pt")
streamer = TextIteratorStreamer(vlm.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
with guard.on(vlm.model):
    writer = Thread(target=vlm.model.generate, kwargs={**inputs, "streamer": streamer, "max_new_tokens": 24})
    writer.start()
    print("streamed", "".join(streamer))
    writer.join()  # before the guard leaves
