"""A guest that runs a guest, started to see whether it can: the one proof of nesting.

Host, guest, nested guest are L0, L1, L2. What runs in the child process (:mod:`machine`, and
what it runs: :mod:`svm`, :mod:`vmx`) needs nothing but the standard library, so that it starts
fast and with nothing of the parent in it.

Sources, named where they are used: [APM] AMD64 Architecture Programmer's Manual volume 2 (24593);
[SDM] Intel 64 and IA-32 Architectures Software Developer's Manual; [KVM] Linux,
Documentation/virt/kvm/api.rst and include/uapi/linux/kvm.h.
"""
