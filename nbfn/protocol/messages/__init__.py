"""Defines the messages between client, hub and worker; `message_table` lists who may send which.

Messages are frozen and consist of plain data. Pickled values of users are opaque `Payload`s that
the hub never unpickles. Client and hub identify an input by (call, index); hub and worker identify
it by its *lease*, a number that is used for one grant only, so that a late message about an earlier
grant has no effect. New fields are only appended, with a default, so that different versions of the
protocol can read the two hello messages and `Refused`.
"""

from nbfn.protocol.messages.apps import *
from nbfn.protocol.messages.base import *
from nbfn.protocol.messages.calls import *
from nbfn.protocol.messages.definition import *
from nbfn.protocol.messages.functions import *
from nbfn.protocol.messages.handshake import *
from nbfn.protocol.messages.health import *
from nbfn.protocol.messages.history import *
from nbfn.protocol.messages.message_table import *
from nbfn.protocol.messages.monitoring import *
from nbfn.protocol.messages.timeline import *
from nbfn.protocol.messages.worker import *
