"""Run by the Python of Nova's own environment: what Nova makes of configuration files.

Answers each line of JSON, a list of command line arguments, with ``{"refused": WHY}`` or
``{"values": {...}}``. The check is the one that the libvirt driver makes when nova-compute starts.
"""

import json
import os
import sys

import nova.conf  # type: ignore[import-not-found]
from nova import exception
from nova.virt.libvirt import driver  # type: ignore[import-not-found]
from oslo_config import cfg

OPTIONS = ('virt_type', 'cpu_mode', 'cpu_models', 'cpu_model_extra_flags')


def answer(arguments):
    conf = nova.conf.CONF
    try:
        conf(arguments, project='nova', prog='nova-compute')
        # Comparing a named model with the host is libvirt's part: there is none here.
        conf.set_override('skip_cpu_compare_at_startup', True, group='workarounds')
        values = {name: conf.libvirt[name] for name in OPTIONS}
        driver.LibvirtDriver.__new__(driver.LibvirtDriver)._check_cpu_compatibility()
    except (cfg.Error, ValueError, exception.NovaException) as error:
        return {'refused': f'{type(error).__name__}: {error}'}
    return {'values': values}


for line in sys.stdin:
    # nova.conf.CONF is one for the process.
    if os.fork() == 0:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + '\n')
        sys.stdout.flush()
        os._exit(0)
    os.wait()
