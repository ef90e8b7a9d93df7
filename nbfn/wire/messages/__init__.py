"""All that two processes say to each other; `directions` is the table of who says what to whom.

Rules: a message is frozen and made of plain data; user bytes are opaque `Payload`s that the hub
never opens; an input is named by (call, index) between client and hub and by its *lease* (one
number per grant, never used again) between hub and worker, so a late word about an older grant
names nothing. Fields are only ever added at the end, with a default, so that the two hellos and
`Refused` can be read across versions of the protocol.
"""

from nbfn.wire.messages.apps import *
from nbfn.wire.messages.base import *
from nbfn.wire.messages.calls import *
from nbfn.wire.messages.definition import *
from nbfn.wire.messages.directions import *
from nbfn.wire.messages.functions import *
from nbfn.wire.messages.greeting import *
from nbfn.wire.messages.ids import *
from nbfn.wire.messages.watching import *
from nbfn.wire.messages.work import *
