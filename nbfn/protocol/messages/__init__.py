"""All that two processes say to each other; `message_table` is the table of who says what to whom.

Rules: a message is frozen and made of plain data; user bytes are opaque `Payload`s that the hub
never opens; an input is named by (call, index) between client and hub and by its *lease* (one
number per grant, never used again) between hub and worker, so a late word about an older grant
names nothing. Fields are only ever added at the end, with a default, so that the two hellos and
`Refused` can be read across versions of the protocol.
"""

from nbfn.protocol.messages.apps import *
from nbfn.protocol.messages.base import *
from nbfn.protocol.messages.calls import *
from nbfn.protocol.messages.definition import *
from nbfn.protocol.messages.functions import *
from nbfn.protocol.messages.handshake import *
from nbfn.protocol.messages.ids import *
from nbfn.protocol.messages.message_table import *
from nbfn.protocol.messages.monitoring import *
from nbfn.protocol.messages.worker import *
