"""A first trace: an agent that calls a tool and a model, recorded into files and read back."""

import fluxloop
from fluxloop.testing import outline

fluxloop.configure(base_path="./traces")


@fluxloop.tool(description="Looks up the weather.")
def weather(city: str, unit: str = "°C") -> str:
    return f"21 {unit}"


@fluxloop.prompt(model="gpt-4o")
def complete(prompt: str) -> dict[str, object]:
    return {"text": f"It is {prompt} in Paris.", "usage": {"prompt_tokens": 12, "completion_tokens": 6}}


@fluxloop.agent(name="WeatherAgent")
def answer(question: str) -> str:
    return str(complete(weather("Paris"))["text"])


answer("How warm is it?")
for trace in fluxloop.read_traces("./traces", name="WeatherAgent"):
    print(outline(trace, inputs=True))
    print(f"{trace.usage.input_tokens} tokens in, {trace.usage.output_tokens} out")

# prints:
# AGENT WeatherAgent({'question': 'How warm is it?'}) -> 'It is 21 °C in Paris.'
#   TOOL weather({'city': 'Paris', 'unit': '°C'}) -> '21 °C'
#   GENERATION complete({'prompt': '21 °C'}) -> {'text': 'It is 21 °C in Paris.', 'usage': {'prompt_tokens'…
# 12 tokens in, 6 out
