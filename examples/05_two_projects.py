"""Two configurations in one process: each client records into its own storage."""

import fluxloop
from fluxloop.testing import capture

billing = fluxloop.FluxLoopClient(base_path="./billing")
support = fluxloop.FluxLoopClient(storage="memory")


@billing.agent
def invoice() -> str:
    return "sent"


@support.agent
def reply() -> str:
    invoice()
    return "done"


with capture(billing) as bills, capture(support) as replies:
    reply()
print("billing:", bills.outline())
print("support:", replies.outline())

# prints:
# billing: AGENT invoice -> 'sent'
# support: AGENT reply -> 'done'
