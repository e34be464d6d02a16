"""First import of every command that runs oslo.service or oslo.messaging.

oslo.service's default backend is eventlet, and oslo.messaging's server picks it on import.
Blocking the import is what keeps it out for good, also where another package would pull it in.
"""

import sys

for _name in ('eventlet', 'greenlet'):
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]  # None: the import fails

from oslo_service import backend  # noqa: E402  # must come after

backend.init_backend(backend.BackendType.THREADING)
