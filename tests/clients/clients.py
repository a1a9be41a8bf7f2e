"""Python clients against the proxy whose origin is the argument; prints what each was answered, as JSON lines."""
import json
import sys

import anthropic
import openai

origin = sys.argv[1]
hi = [{"role": "user", "content": "hi"}]


def say(name, text):
    print(json.dumps([name, text]), flush=True)


client = openai.OpenAI(base_url=f"{origin}/v1", api_key="sk-agent", max_retries=0)
say("openai chat", client.chat.completions.create(model="m", messages=hi).choices[0].message.content)
with client.chat.completions.create(model="m", messages=hi + [{"role": "user", "content": "streamed"}], stream=True) as stream:
    say("openai stream", "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))
say("openai responses", client.responses.create(model="m", input="hi").output_text)
with client.responses.stream(model="m", input="streamed") as stream:
    say("openai responses stream", stream.get_final_response().output_text)

claude = anthropic.Anthropic(base_url=origin, api_key="sk-ant-agent", max_retries=0)
say("anthropic", claude.messages.create(model="m", max_tokens=9, messages=hi).content[0].text)
with claude.messages.stream(model="m", max_tokens=9, messages=hi + [{"role": "assistant", "content": "a"}] + hi) as stream:
    say("anthropic stream", stream.get_final_text())
